"""Sweeps: their jobs, each job's share of the machine, and the report."""
