"""Families whose tasks are functions over space: each image is a task."""
