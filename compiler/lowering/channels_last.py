"""Recognizes channels_last: the Transpose of a model's image, and the QuantizeLinear that follows it."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of
from compiler.workloads.operators.channels_last import MOST_CHANNELS
from compiler.workloads.workload import Workload
from graph_passes.patterns.conversions import Conversion
from graph_passes.values import is_op, producer, same_graph, sole_user

_PERM = (0, 2, 3, 1)
_MIN_PIXELS = 4096  # of an image; for smaller ones, generated code takes a few microseconds


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a Transpose, or of a QuantizeLinear of a Transpose that nothing else reads.

    The latter has no use for its Transpose, which is not a call then.
    """
    if is_op(node, "QuantizeLinear"):
        transpose = producer(node.inputs[0])
        if transpose is None or _quantized_by(transpose) is not node:
            return None
        integers = Conversion.of(node)
        if integers is None:
            return None
        dtype, scale, zero = integers.numbers
        return _call(transpose, {"out_dtype": dtype, "out_scale": scale, "out_zero_point": zero})
    return None if _quantized_by(node) is not None else _call(node, {})


def _quantized_by(node: ir.Node) -> ir.Node | None:
    """Returns the QuantizeLinear that is computed together with a Transpose."""
    user = sole_user(node.outputs[0]) if is_op(node, "Transpose") else None
    if user is None or not same_graph(user, node) or not is_op(user, "QuantizeLinear"):
        return None
    return user if user.inputs[0] is node.outputs[0] and Conversion.of(user) is not None and _call(node, {}) else None


def _call(node: ir.Node, integers: dict[str, Any]) -> Call | None:
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or len(shape) != len(_PERM) or not is_float32(x):
        return None
    if tuple(node.attributes.get_ints("perm", ())) != _PERM or not 1 < shape[1] <= MOST_CHANNELS:
        return None
    if shape[2] * shape[3] < _MIN_PIXELS:
        return None
    return Call("channels_last", (x,), {"x": list(shape), **integers}, stages=(Workload("channels_last", shape),))
