"""A sweep: its jobs, their share of the machine, its report."""
