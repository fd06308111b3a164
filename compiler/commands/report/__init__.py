"""A profile as tables, JSON and a page."""
