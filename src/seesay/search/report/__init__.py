"""What is drawn of a collection: thumbnails, contact sheets, pages."""
