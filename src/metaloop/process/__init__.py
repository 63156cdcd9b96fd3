"""The process of a run: signals, memory, start-up, errors of the machine. Imports no torch."""
