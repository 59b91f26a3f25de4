"""Runs as one HTML file that needs nothing else: records to text."""
