"""Evaluation of a trained learner on fixed episodes."""
