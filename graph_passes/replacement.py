"""Nodes that are written to take the place of another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import graph_of, new_constant


class Replacement:
    """Writes nodes in front of ``node``, which :meth:`replace` then removes.

    Their types and shapes are unknown until :func:`infer_shapes` runs.
    """

    def __init__(self, node: ir.Node) -> None:
        self._node, self._graph = node, graph_of(node)

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """The answer of a new node."""
        return self.many(op_type, inputs, 1, **attributes)[0]

    def many(
        self, op_type: str, inputs: Sequence[ir.Value | None], outputs: int, **attributes: Any
    ) -> Sequence[ir.Value]:
        """The answers of a new node of several outputs."""
        node = ir.node(op_type, inputs, attributes, num_outputs=outputs)
        self._graph.insert_before(self._node, node)
        return node.outputs

    def constant(self, name: str, array: np.ndarray | np.generic) -> ir.Value:
        """An initializer, named after the node."""
        return new_constant(self._graph, f"{self._node.outputs[0].name}_{name}", np.asarray(array))

    def replace(self, *answers: ir.Value) -> None:
        """Whoever reads the node's outputs reads ``answers``, which take over their names; the node goes."""
        pairs = [(old, new) for old, new in zip(self._node.outputs, answers, strict=False) if old.name]  # "": left out
        old, new = ([pair[place] for pair in pairs] for place in (0, 1))
        ir.convenience.replace_nodes_and_values(self._graph, self._node, [self._node], [], old, new)


def infer_shapes(model: ir.Model) -> None:
    """Of what was written, and of all that follows from it."""
    from onnx_ir.passes import common

    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
