"""The process that runs a model in Python for the server: ``python -m serving.worker``, which the server starts."""
