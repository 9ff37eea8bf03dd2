"""Questions about a collection, answered from what stands in it: `plans` computes from tables."""
