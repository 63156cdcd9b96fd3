"""Adapting a trained learner to a user's own examples."""
