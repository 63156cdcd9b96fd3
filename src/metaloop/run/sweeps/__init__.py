"""Comparison of a sweep's runs."""
