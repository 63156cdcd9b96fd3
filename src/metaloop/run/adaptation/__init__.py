"""Adaptation of a trained learner to a user's own examples."""
