"""Tasks that are computed: curves, and a point to walk to."""
