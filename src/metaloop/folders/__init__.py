"""The folders of runs and sweeps: paths, state, locks. Imports no torch."""
