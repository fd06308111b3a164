"""Recognizes softmax: Softmax over the last axis."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of
from compiler.workloads.workload import Workload


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a Softmax over the last axis.

    Before opset 13, Softmax flattens ``axis`` and the axes after it; a row of the kernel is then all of these axes.
    """
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x):
        return None
    opset = 13 if node.graph is None else node.graph.opset_imports.get("", 13)
    axis = node.attributes.get_int("axis", -1 if opset >= 13 else 1) % len(shape)
    columns = prod(shape[axis:])
    if columns != shape[-1] and (opset >= 13 or axis == len(shape) - 1):
        return None
    sizes = (prod(shape) // columns, columns)
    return Call("softmax", (x,), {"sizes": list(sizes)}, stages=(Workload("softmax", sizes),))
