"""Trains ONNX models in PyTorch: their graphs as modules, losses, the loop."""
