"""Questions about a collection, answered from what stands in it."""
