"""Recurrent layers against ONNX Runtime."""
