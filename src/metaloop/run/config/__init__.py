"""A run's config: reading, checking and writing it, and building the objects it names."""
