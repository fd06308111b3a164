"""Registers the hypothesis profile ``thorough``, which runs more random networks, as in tests/graph_passes."""

import importlib

importlib.import_module("tests.graph_passes.conftest")  # registers the profile
