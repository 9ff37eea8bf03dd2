"""Vector indexes: made from the vectors of a collection, thrown away and made again at will."""
