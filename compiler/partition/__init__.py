"""Divides a model into the nodes that are compiled and segments that ONNX Runtime runs."""
