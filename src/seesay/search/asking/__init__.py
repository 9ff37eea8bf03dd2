"""Words and pictures in, hits out."""
