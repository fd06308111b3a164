"""Forms of nodes and layers that several passes recognize."""
