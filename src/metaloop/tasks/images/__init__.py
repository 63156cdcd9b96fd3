"""Tasks from images, which are decoded once and split by classes."""
