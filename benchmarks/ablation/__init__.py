"""The contribution of each step of the compiler: graph passes, tuning and the graph view."""
