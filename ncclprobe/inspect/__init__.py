"""Read other tools' outputs: text in, records out."""
