"""What a profile says, as a table, as JSON and as a page."""
