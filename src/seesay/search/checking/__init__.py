"""What `seesay verify` looks at, and how what it finds is mended."""
