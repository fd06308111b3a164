"""Rules for nodes that support channels last, and the edit that rewrites them."""
