"""Turn a choice into settings that a job can load."""
