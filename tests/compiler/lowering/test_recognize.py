"""The table of recognizers."""

from __future__ import annotations

import re

from compiler.lowering.recognize import RECOGNIZERS
from compiler.workloads.operators import OPERATORS
from graph_passes.base import DOMAIN


def test_every_node_of_a_definition_has_a_recognizer() -> None:
    assert set(RECOGNIZERS) == {name for definition in OPERATORS.values() for name in definition.onnx}


def test_nodes_are_functions_of_graph_passes_or_standard_operators() -> None:
    for name in RECOGNIZERS:
        assert re.fullmatch(rf"({DOMAIN}::)?\w+", name)


def test_a_node_has_one_recognizer() -> None:
    found: dict[str, str] = {}
    for definition in OPERATORS.values():
        module = definition.recognizer or definition.name
        for name in definition.onnx:
            assert found.setdefault(name, module) == module, name
