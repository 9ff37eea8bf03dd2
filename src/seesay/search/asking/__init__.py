"""From a query to its results: query, retrievers, fusion, confidence; duplicates and tags."""
