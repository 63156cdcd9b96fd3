"""Checkpoints: which config they belong to, and loading their weights."""
