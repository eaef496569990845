"""Plain scripts with the libraries that people use today, at equal budget on equal data."""
