"""The commands that look after a collection: its indexes, what it holds, what it cannot read."""
