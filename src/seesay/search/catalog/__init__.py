"""The truth of a collection: one SQLite file, from which all else can be made again."""
