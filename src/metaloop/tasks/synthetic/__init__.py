"""Computed tasks: curves, and navigation to a point."""
