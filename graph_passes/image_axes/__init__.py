"""Rules for images of one and of three axes, which become images of two axes, and the edit that applies them."""
