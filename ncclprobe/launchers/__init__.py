"""Start ranks: each launcher turns a job into tokens."""
