"""What runs in a process of its own: untrusted bytes to text, metadata and small pictures."""
