"""Command-line tools of the project; nothing here is imported by the book itself."""
