"""Single layers against oneDNN and PyTorch."""
