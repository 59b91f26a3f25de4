"""Compare settings by a real workload."""
