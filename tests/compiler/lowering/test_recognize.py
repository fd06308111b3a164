"""The tables of recognizers."""

from __future__ import annotations

import re

from compiler.lowering.recognize import ONNX_NODES, RECOGNIZERS
from graph_passes.base import DOMAIN


def test_every_operator_with_nodes_has_a_recognizer() -> None:
    assert ONNX_NODES.keys() == RECOGNIZERS.keys()


def test_nodes_are_functions_of_graph_passes_or_standard_operators() -> None:
    for name in (name for names in ONNX_NODES.values() for name in names):
        assert re.fullmatch(rf"({DOMAIN}::)?\w+", name)


def test_a_node_has_one_recognizer() -> None:
    found: dict[str, object] = {}
    for operator, names in ONNX_NODES.items():
        for name in names:
            assert found.setdefault(name, RECOGNIZERS[operator]) is RECOGNIZERS[operator], name
