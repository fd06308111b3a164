"""Searches: of one workload, of the layers of a model, and inside the running model."""
