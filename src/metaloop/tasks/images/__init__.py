"""Tasks of images: decoded once, split by classes."""
