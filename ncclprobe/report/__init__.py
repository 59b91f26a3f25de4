"""Show records to people."""
