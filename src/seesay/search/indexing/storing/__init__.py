"""What was read and embedded -> what the store holds, and what it no longer should."""
