"""The process that a run lives in: signals, memory, start-up, refusals. Imports no torch."""
