"""What runs and shows in the browser: script and style."""
