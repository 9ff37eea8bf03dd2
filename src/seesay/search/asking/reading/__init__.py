"""What a typed query says: wanted, unwanted, and when."""
