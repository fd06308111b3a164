"""Measures a compiled program next to ONNX Runtime, and takes the faster one: ``compiler.build(..., tune=True)``."""
