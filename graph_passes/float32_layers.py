"""Computes layers of float16, and what follows them, in float32.

::

    x (float16) ── Conv ── Add ── Relu ── MatMul ── y (float16)

    x ── Cast ── Conv ── Add ── Relu ── MatMul ── Cast ── y

Convolutions and products of float16 always change: CPUs compute them in float32. Other operators change if they read
the output of one that changed. Values are converted only where another operator reads or writes them, so the values in
between are not rounded to float16, and may exceed its range. ONNX Runtime computes such models in the same way.

The pass is for our lowering, whose kernels compute in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark
from graph_passes.lazy import ir
from graph_passes.values import bypass, constant, is_op, new_constant, new_node

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FOLLOWERS = """
    Abs Add AveragePool BatchNormalization Clip Concat Div Elu Erf Exp Expand Flatten Gather Gelu GlobalAveragePool
    GlobalMaxPool HardSigmoid HardSwish Identity InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax Max
    MaxPool Mean Min Mish Mul Neg PRelu Pad Pow ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Sigmoid
    Slice Softmax Softplus Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where""".split()


@dataclass(frozen=True)
class Float32Layers(Pass):
    name: ClassVar[str] = "float32_layers"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        edit = _Edit(model.graph)
        for node in list(model.graph):
            if is_op(node, *LAYERS) or (is_op(node, *FOLLOWERS) and any(v in edit.written for v in node.inputs)):
                edit.rewrite(node)
        edit.finish()
        yield from ()


@dataclass
class _Edit:
    """Rewrites nodes in the order of the graph."""

    graph: ir.Graph
    twins: dict[ir.Value, ir.Value] = field(default_factory=dict)  # the float32 version of each value
    written: set[ir.Value] = field(default_factory=set)  # values that rewritten nodes write in float32
    nodes: list[ir.Node] = field(default_factory=list)

    def rewrite(self, node: ir.Node) -> None:
        if not any(_is_half(value) for value in node.inputs) or not any(_is_half(value) for value in node.outputs):
            return
        inputs = [self._wide(node, value) if value is not None and _is_half(value) else value for value in node.inputs]
        new = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            list(node.attributes.values()),
            num_outputs=len(node.outputs),
            name=node.name,
        )
        for old, output in zip(node.outputs, new.outputs, strict=True):
            output.name, output.shape = f"{old.name}_wide" if old.name else "", old.shape
            output.type = ir.TensorType(ir.DataType.FLOAT) if _is_half(old) else old.type
            self.twins[old] = output
            if _is_half(old):
                self.written.add(old)
        self.graph.insert_before(node, new)
        self.nodes.append(node)

    def _wide(self, node: ir.Node, value: ir.Value) -> ir.Value:
        if value not in self.twins:
            array = constant(value)
            if array is not None:
                self.twins[value] = new_constant(self.graph, f"{value.name}_wide", array.astype(np.float32))
            else:
                self.twins[value] = self._cast(node, value, ir.DataType.FLOAT, value)
        return self.twins[value]

    def _cast(self, before: ir.Node, value: ir.Value, dtype: ir.DataType, like: ir.Value) -> ir.Value:
        cast = new_node("Cast", [value], {"to": dtype.value}, like=like)
        cast.outputs[0].type = ir.TensorType(dtype)
        self.graph.insert_before(before, cast)
        return cast.outputs[0]

    def finish(self) -> None:
        """Makes other nodes read casts of what was rewritten, and removes the old nodes."""
        for node in reversed(self.nodes):
            for old in node.outputs:
                self._replace(node, old, self.twins[old])
            self.graph.remove(node, safe=True)

    def _replace(self, node: ir.Node, old: ir.Value, new: ir.Value) -> None:
        for user in {use.node for use in old.uses()}:
            is_wider = is_op(user, "Cast") and user.attributes.get_int("to", 0) == ir.DataType.FLOAT.value
            if is_wider and _is_half(old):
                bypass(user, new)
        if not old.uses() and not old.is_graph_output():
            return
        if _is_half(old):
            new = self._cast(node, new, ir.DataType.FLOAT16, old)
        if old.is_graph_output():
            new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)


def _is_half(value: ir.Value | None) -> bool:
    return value is not None and value.dtype == ir.DataType.FLOAT16
