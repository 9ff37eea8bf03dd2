"""The commands that look after a collection: its indexes, and what it holds and takes."""
