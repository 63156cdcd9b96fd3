"""One folder is one run: the process that executes it."""
