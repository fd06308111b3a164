"""Sizes that vary from run to run: their ranges, and the layers and tensors of a program in terms of them."""
