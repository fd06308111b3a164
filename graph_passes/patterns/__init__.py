"""Patterns of operators that passes recognize, and the layers that replace them."""
