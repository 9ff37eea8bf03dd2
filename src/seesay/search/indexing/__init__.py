"""Files to items, units and vectors: whatever a folder holds, however often, however it ends."""
