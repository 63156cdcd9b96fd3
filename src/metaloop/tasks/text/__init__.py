"""Tasks from sentences."""
