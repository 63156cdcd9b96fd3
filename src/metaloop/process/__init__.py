"""The process that a run lives in: signals, memory, start-up, full disks. Imports no torch."""
