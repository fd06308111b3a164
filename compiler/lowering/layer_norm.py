"""Recognizes layer_norm: LayerNormalization over the last axes."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, axis_of, float32_constant, is_float32, shape_of
from compiler.workloads.workload import Workload
from graph_passes.values import data_input, main_output


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a LayerNormalization over the last axes with constant scale and bias."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x) or main_output(node) is None or shape_of(node.outputs[0]) != shape:
        return None
    axis = axis_of(node, len(shape), default=-1)
    if axis is None or node.attributes.get_int("stash_type", 1) != 1:
        return None
    n, given = prod(shape[axis:]), data_input(node, 2)
    gamma = _columns(data_input(node, 1), shape[axis:])
    beta = np.zeros(n, np.float32) if given is None else _columns(given, shape[axis:])
    if gamma is None or beta is None:
        return None
    sizes = (prod(shape) // n, n)
    attributes = {"sizes": list(sizes), "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    stages = (Workload("layer_norm", sizes),)
    return Call("layer_norm", (x,), attributes, {"gamma": gamma, "beta": beta}, stages=stages)


def _columns(value: ir.Value | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """Returns a constant that broadcasts to the normalized axes, with one number per column; None for any other."""
    array = float32_constant(value)
    if array is None:
        return None
    while array.ndim > len(shape) and array.shape[0] == 1:
        array = array[0]
    if array.ndim > len(shape) or any(
        a not in (1, b) for a, b in zip(reversed(array.shape), reversed(shape), strict=False)
    ):
        return None
    return np.ascontiguousarray(np.broadcast_to(array, shape).reshape(-1))
