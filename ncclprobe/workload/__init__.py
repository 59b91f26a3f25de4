"""Read a workload's message sizes."""
