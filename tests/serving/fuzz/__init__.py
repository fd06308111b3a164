"""Mutated requests of both protocols: the server must live, answer each, and never answer that it failed."""
