"""The REST API: collections for programs."""
