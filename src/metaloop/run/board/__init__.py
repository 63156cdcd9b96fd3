"""The board: published values next to ours, which are read from records of runs."""
