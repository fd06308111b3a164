"""Builds nodes that replace another node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import graph_of, new_constant


class Replacement:
    """Inserts new nodes before ``node``; :meth:`replace` then removes ``node``.

    Types and shapes of the new values are unknown until :func:`infer_shapes` runs.
    """

    def __init__(self, node: ir.Node) -> None:
        self._node, self._graph = node, graph_of(node)

    def op(self, op_type: str, *inputs: ir.Value | None, name: str | None = None, **attributes: Any) -> ir.Value:
        """Adds a node with one output and returns the output."""
        return self.many(op_type, inputs, 1, name=name, **attributes)[0]

    def many(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: int,
        name: str | None = None,
        **attributes: Any,
    ) -> Sequence[ir.Value]:
        """Adds a node with several outputs and returns them."""
        node = ir.node(op_type, inputs, attributes, num_outputs=outputs, name=name)
        self._graph.insert_before(self._node, node)
        return node.outputs

    def constant(self, name: str, array: np.ndarray | np.generic) -> ir.Value:
        """Adds an initializer whose name begins with the node's."""
        return new_constant(self._graph, f"{self._node.outputs[0].name}_{name}", np.asarray(array))

    def replace(self, *values: ir.Value) -> None:
        """Replaces the outputs of the node by ``values``, which take over their names, and removes the node."""
        pairs = [(old, new) for old, new in zip(self._node.outputs, values, strict=False) if old.name]  # "": omitted
        old, new = ([pair[place] for pair in pairs] for place in (0, 1))
        ir.convenience.replace_nodes_and_values(self._graph, self._node, [self._node], [], old, new)


def infer_shapes(model: ir.Model) -> None:
    """Infers the shapes and types of new values and of all values that depend on them."""
    from onnx_ir.passes import common

    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)


def consistent(model: ir.Model) -> bool:
    """Returns whether the inferred shapes and types of all values agree, as a runtime checks before it runs a model."""
    import onnx
    from onnx_ir.passes.common import _c_api_utils

    def infer(proto: onnx.ModelProto) -> bool:
        try:
            onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
        except (onnx.shape_inference.InferenceError, ValueError):
            return False
        return True

    return _c_api_utils.call_onnx_api(infer, model)  # without the elements of large weights
