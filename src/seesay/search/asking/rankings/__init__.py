"""Each lane asked for itself, and their rankings made one."""
