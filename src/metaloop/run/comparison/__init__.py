"""Comparison of learners on the same test episodes."""
