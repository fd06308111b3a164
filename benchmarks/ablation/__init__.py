"""What each step of the compiler contributes: graph passes, tuning and the graph view."""
