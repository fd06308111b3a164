"""Layers of real networks, measured against what others offer: ``pytest benchmarks/ --benchmark``."""
