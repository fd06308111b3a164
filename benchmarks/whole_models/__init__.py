"""Whole models in our compiler and in other runtimes."""
