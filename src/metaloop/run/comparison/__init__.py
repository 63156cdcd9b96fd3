"""Comparing learners on identical test episodes."""
