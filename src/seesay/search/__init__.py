"""Collections: index anything, find it in either language."""
