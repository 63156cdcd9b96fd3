"""The board: published values next to ours, each resting on the record of a run."""
