"""Name the slow node, link or rail."""
