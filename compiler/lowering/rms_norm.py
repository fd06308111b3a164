"""Recognizes rms_norm: RMSNormalization over the last axis."""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from compiler.lowering.call import Call, axis_of, is_float32, shape_of, vector
from compiler.workloads.workload import Workload
from graph_passes.values import data_input


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of an RMSNormalization over the last axis with a constant scale."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x) or shape_of(node.outputs[0]) != shape:
        return None
    if axis_of(node, len(shape), default=-1) != len(shape) - 1 or node.attributes.get_int("stash_type", 1) != 1:
        return None
    gamma = vector(data_input(node, 1), shape[-1], rank=len(shape))
    if gamma is None:
        return None
    sizes = (prod(shape) // shape[-1], shape[-1])
    attributes = {"sizes": list(sizes), "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    return Call("rms_norm", (x,), attributes, {"gamma": gamma}, stages=(Workload("rms_norm", sizes),))
