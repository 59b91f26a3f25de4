"""What people read on the terminal: a document in, text out, a module for each command."""
