"""Which nodes of a graph can have their channels last, and how they are written then."""
