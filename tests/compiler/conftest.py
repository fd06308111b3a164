"""``pytest tests/compiler --hypothesis-profile=thorough``: more random networks, as for the graph passes."""

import importlib

importlib.import_module("tests.graph_passes.conftest")  # which registers the profile
