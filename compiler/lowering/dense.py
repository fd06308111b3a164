"""Recognizes dense: MatMul and Gemm with a constant weight."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32, shape_of, vector
from compiler.lowering.epilogue import epilogue_of
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer
from graph_passes.values import data_input


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a MatMul or Gemm with a constant weight, and of its fused epilogue."""
    fused = FusedLayer.of(node)
    x, weight = node.inputs[0], float32_constant(data_input(node, 1))
    if fused is None or x is None or weight is None or weight.ndim != 2 or not is_float32(x):
        return None
    rows, output = shape_of(x), shape_of(node.outputs[0])
    gemm = fused.op == "Gemm"
    scales = {"alpha": 1.0, "beta": 1.0}
    if gemm:
        if node.attributes.get_int("transA", 0):
            return None
        scales = {name: node.attributes.get_float(name, 1.0) for name in scales}
    # Kernels take weights as (n, k).
    weight = weight if gemm and node.attributes.get_int("transB", 0) else weight.T
    n, k = weight.shape
    if len(rows) < 2 or rows[-1] != k or (gemm and len(rows) != 2):
        return None
    # A bias may add axes of size 1 in front.
    extra = len(output) - len(rows)
    if extra < 0 or output != (*(1 for _ in range(extra)), *rows[:-1], n):
        return None
    bias = None
    if fused.bias:
        bias = vector(data_input(node, 2), n)
        if bias is None:
            return None
    residual = node.inputs[-1] if fused.residual else None
    if fused.residual and shape_of(residual) != output:
        return None
    epilogue = epilogue_of(node, fused, n)
    if epilogue is None:
        return None
    m = prod(rows[:-1])
    workload = Workload.dense(m, n, k, epilogue=epilogue.steps)
    attributes = {"sizes": [m, n, k], "residual": fused.residual, "activation": workload.activation}
    weights = {"weight": _scaled(weight, scales["alpha"]), **epilogue.weights}
    if bias is not None:
        weights["bias"] = _scaled(bias, scales["beta"])
    inputs = (x, residual) if residual is not None else (x,)
    return Call("dense", inputs, attributes, weights, workload, epilogue.activation)


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    return np.ascontiguousarray(array if factor == 1.0 else array * np.float32(factor))
