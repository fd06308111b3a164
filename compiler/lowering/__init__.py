"""Lowers an optimized model: recognizes what our kernels compute, chooses how, and rewrites the graph."""
