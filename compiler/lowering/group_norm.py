"""Recognizes group_norm: instance and group normalization of channels-last images."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32, shape_of
from compiler.workloads.workload import Workload
from graph_passes.values import data_input


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a normalization function of ``graph_passes`` with constant scale and bias."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or len(shape) != 4 or not is_float32(x) or shape_of(node.outputs[0]) != shape:
        return None
    channels = shape[3]
    grouped = node.attributes.get_ints("grouped", ())
    groups = grouped[1] if len(grouped) == 3 else channels  # an InstanceNormalization has no groups
    weights = {name: float32_constant(data_input(node, place)) for place, name in enumerate(("gamma", "beta"), 1)}
    given = {name: np.ascontiguousarray(array) for name, array in weights.items() if array is not None}
    if groups < 1 or channels % groups or len(given) != 2 or any(a.shape != (channels,) for a in given.values()):
        return None
    attributes = {"x": list(shape), "groups": groups, "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    return Call("group_norm", (x,), attributes, given, stages=(Workload("group_norm", (*shape, groups)),))
