"""The database of a collection: one SQLite file, from which everything else can be rebuilt."""
