"""Comparing the runs of a sweep."""
