"""Whole models against other runtimes."""
