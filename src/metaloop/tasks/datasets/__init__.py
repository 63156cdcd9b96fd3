"""Tasks from any labelled torch Dataset."""
