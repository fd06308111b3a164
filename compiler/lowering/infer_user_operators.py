"""Gives the outputs of operators of users their types, which the operators infer from those of their inputs.

::

    y = com.example::Clamp (x)   becomes   float[2, 3] y = com.example::Clamp (float[2, 3] x)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from compiler.lowering.user_operator import Operators, description_of, is_known, unknown_input
from graph_passes.base import Pass, Remark, every_node
from graph_passes.replacement import infer_shapes
from graph_passes.values import static_shape


@dataclass(frozen=True)
class InferUserOperators(Pass):
    """Raises ValueError if an operator does not take one of its nodes."""

    name: ClassVar[str] = "infer_user_operators"
    operators: Operators = field(repr=False)

    def apply(self, model: ir.Model) -> Iterable[Remark]:
        nodes = [node for node in every_node(model) if is_known(node, self.operators)]
        nodes = [node for node in nodes if node.op_identifier() not in model.functions]  # these are inlined
        for _ in range(len(nodes) + 1):  # one may read what follows from another
            before = [_types(node) for node in nodes]
            for node in nodes:
                self._infer(node)
            after = [_types(node) for node in nodes]
            if after == before:
                break
            if any(
                shape not in (None, new)
                for old, types in zip(before, after, strict=True)
                for (_, shape), (_, new) in zip(old, types, strict=True)
            ):
                _forget_shapes(model, nodes)  # the model states other shapes, and more that follow from them
            infer_shapes(model)
        return ()

    def _infer(self, node: ir.Node) -> None:
        """Sets the types of the outputs, if those of the inputs are known."""
        if unknown_input(node):
            return
        for output, inferred in zip(node.outputs, description_of(node, self.operators)["outputs"], strict=True):
            output.dtype = ir.DataType.from_numpy(np.dtype(inferred["dtype"]))
            output.shape = ir.Shape(inferred["shape"])


def _types(node: ir.Node) -> list[tuple[ir.DataType | None, tuple[int, ...] | None]]:
    return [(output.dtype, static_shape(output)) for output in node.outputs]


def _forget_shapes(model: ir.Model, kept: Iterable[ir.Node]) -> None:
    """Removes the shapes of all values that nodes write, except those of the nodes ``kept``."""
    known = set(kept)
    for node in every_node(model):
        for output in node.outputs if node not in known else ():
            output.shape = None
