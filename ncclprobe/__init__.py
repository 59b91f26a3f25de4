"""Measure which NCCL settings, nodes and links a job should use, and whether any of it beats the defaults."""

__version__ = "0.1.0"
