"""Engines of others: they keep an index in files of their own, or on a server."""
