"""Layers of real networks in our kernels, oneDNN and torch."""
