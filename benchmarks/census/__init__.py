"""The answers of the census: every real model is compiled and compared with ONNX Runtime."""
