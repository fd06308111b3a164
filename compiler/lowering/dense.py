"""Recognizes dense: MatMul and Gemm with a constant weight, and products of 8-bit integers."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of, vector
from compiler.lowering.epilogue import epilogue_of
from compiler.lowering.quantization import weight_of, with_activation_before_integers
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a product with a constant weight, and of its fused epilogue."""
    fused = FusedLayer.of(node)
    if fused is None:
        return None
    operands = fused.operands(node)
    x, found = operands["x"], weight_of(fused, operands)
    if found is None or x is None or found.array.ndim != 2:
        return None
    if found.takes_floats and not is_float32(x):
        return None
    rows, output = shape_of(x), shape_of(node.outputs[0])
    gemm = fused.op == "Gemm"
    factors = {"alpha": 1.0, "beta": 1.0}
    if gemm:
        if node.attributes.get_int("transA", 0):
            return None
        factors = {name: node.attributes.get_float(name, 1.0) for name in factors}
    # Kernels take weights as (n, k).
    weight = found.array if gemm and node.attributes.get_int("transB", 0) else found.array.T
    n, k = weight.shape
    if len(rows) < 2 or rows[-1] != k or (gemm and len(rows) != 2) or not found.fits(n, k):
        return None
    # A bias may add axes of size 1 in front.
    extra = len(output) - len(rows)
    if extra < 0 or output != (*(1 for _ in range(extra)), *rows[:-1], n):
        return None
    bias = None
    if fused.bias:
        bias = vector(operands["b"], n)
        if bias is None:
            return None
    residual = operands.get("r")
    if fused.residual and shape_of(residual) != output:
        return None
    epilogue = epilogue_of(node, fused, n)
    if epilogue is None:
        return None
    m = prod(rows[:-1])
    workload = Workload.dense(m, n, k, found.dtype, epilogue=epilogue.steps)
    attributes = {
        "sizes": [m, n, k],
        "residual": fused.residual,
        "activation": workload.activation,
        **found.attributes,
    }
    weights = {"weight": _scaled(weight, factors["alpha"]), **epilogue.weights, **found.scales}
    if bias is not None:
        weights["bias"] = _scaled(bias, factors["beta"])
    inputs = (x, residual) if residual is not None else (x,)
    call = Call("dense", inputs, attributes, weights, workload, epilogue.activation)
    return with_activation_before_integers(call, fused, node)


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    return np.ascontiguousarray(array if factor == 1.0 else array * np.float32(factor))
