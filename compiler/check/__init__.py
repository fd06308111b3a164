"""Checks a compiled model against ONNX Runtime, and finds the graph pass or the layer that is wrong."""
