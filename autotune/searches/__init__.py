"""Searches: of one workload, of all layers of a model, and inside a running model."""
