"""Tasks of sentences."""
