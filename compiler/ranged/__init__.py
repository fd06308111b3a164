"""Builds one program for ranges of input sizes."""
