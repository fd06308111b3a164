"""Conversion of models from other formats to ONNX."""
