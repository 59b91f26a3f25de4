"""Plan, run and judge micro-benchmarks of cells against the default."""
