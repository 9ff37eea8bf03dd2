"""The commands that work on collections, one file for each."""
