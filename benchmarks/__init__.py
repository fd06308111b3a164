"""Benchmarks of layers and whole models against other libraries and runtimes. ``python -m benchmarks`` lists them."""
