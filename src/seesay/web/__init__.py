"""The page that people open: search, duplicates and a map, in Chinese and English."""
