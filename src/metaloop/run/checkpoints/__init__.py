"""Checkpoints: their origin, loading their weights, and resuming with accepted changes."""
