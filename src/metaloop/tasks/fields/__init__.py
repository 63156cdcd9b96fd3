"""Task families whose tasks are fields, functions of coordinates: each image is a task."""
