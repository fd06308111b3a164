"""The inference engine: a server in C++ (``serving/cpp``), and the commands that start and operate it."""
