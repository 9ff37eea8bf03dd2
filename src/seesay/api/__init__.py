"""The REST door: collections for programs."""
