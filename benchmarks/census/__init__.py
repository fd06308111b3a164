"""The census of real models: every one is compiled, compared with ONNX Runtime, and timed next to other runtimes."""
