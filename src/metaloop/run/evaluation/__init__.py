"""Judging a trained learner on fixed episodes."""
