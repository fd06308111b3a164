"""Recognizes layer_norm: LayerNormalization over the last axis."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, axis_of, is_float32, shape_of, vector
from compiler.workloads.workload import Workload
from graph_passes.values import data_input, main_output


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a LayerNormalization over the last axis with constant scale and bias."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x) or main_output(node) is None or shape_of(node.outputs[0]) != shape:
        return None
    if axis_of(node, len(shape), default=-1) != len(shape) - 1 or node.attributes.get_int("stash_type", 1) != 1:
        return None
    n, given = shape[-1], data_input(node, 2)
    gamma = vector(data_input(node, 1), n, rank=len(shape))
    beta = np.zeros(n, np.float32) if given is None else vector(given, n, rank=len(shape))
    if gamma is None or beta is None:
        return None
    sizes = (prod(shape) // n, n)
    attributes = {"sizes": list(sizes), "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    stages = (Workload("layer_norm", sizes),)
    return Call("layer_norm", (x,), attributes, {"gamma": gamma, "beta": beta}, stages=stages)
