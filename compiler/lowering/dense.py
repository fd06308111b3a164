"""Recognizes dense: MatMul and Gemm with a constant weight, and products of 8-bit integers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of
from compiler.lowering.product import Product
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
    gemm = fused.op == "Gemm"
    factors = {"alpha": 1.0, "beta": 1.0}
    if gemm:
        if node.attributes.get_int("transA", 0) or len(shape_of(x)) != 2:
            return None
        factors = {name: node.attributes.get_float(name, 1.0) for name in factors}
    # Kernels take weights as (n, k).
    weight = found.array if gemm and node.attributes.get_int("transB", 0) else found.array.T
    n, k = weight.shape
    product = Product.of(node, fused, n, k) if found.fits(n, k) else None
    if product is None:
        return None
    sizes = (product.rows, n, k)
    workload = Workload.dense(*sizes, found.dtype, epilogue=product.epilogue.steps)
    attributes = {"sizes": list(sizes), **product.attributes, **found.attributes}
    weights = {"weight": _scaled(weight, factors["alpha"]), **product.weights, **found.scales}
    if "bias" in weights:
        weights["bias"] = _scaled(weights["bias"], factors["beta"])
    call = Call("dense", product.inputs, attributes, weights, workload, product.epilogue.activation)
    return with_activation_before_integers(call, fused, node)


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    return np.ascontiguousarray(array if factor == 1.0 else array * np.float32(factor))
