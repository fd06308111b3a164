"""Recognizes softmax: Softmax over the last axis."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from compiler.lowering.call import Call, axis_of, is_float32, shape_of
from compiler.workloads.workload import Workload

_OF_ONE_AXIS = 13  # the opset since which Softmax normalizes along one axis


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a Softmax over the last axis, or over one that only axes of size 1 follow.

    Before opset 13, Softmax flattens ``axis`` and the axes after it; a row of the kernel is then all of these axes.
    """
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x) or shape_of(node.outputs[0]) != shape:
        return None
    opset = _OF_ONE_AXIS if node.graph is None else node.graph.opset_imports.get("", _OF_ONE_AXIS)
    flattens = opset < _OF_ONE_AXIS
    axis = axis_of(node, len(shape), default=1 if flattens else -1)
    if axis is None or (not flattens and prod(shape[axis + 1 :]) != 1):
        return None
    columns = prod(shape[axis:])
    sizes = (prod(shape[:axis]), columns)
    return Call("softmax", (x,), {"sizes": list(sizes)}, stages=(Workload("softmax", sizes),))
