"""Recognizes block_dense: products with a weight of few bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, constant, float32_constant, is_float32
from compiler.lowering.product import Product
from compiler.workloads.operators.block_dense import packed_numbers
from compiler.workloads.workload import Workload
from graph_passes.patterns.layers import FusedLayer


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of a ``BlockMatMul``, and of its fused epilogue."""
    fused = FusedLayer.of(node)
    if fused is None:
        return None
    operands = fused.operands(node)
    numbers, zeros = constant(operands["w"]), constant(operands["w_zero"])
    scales = float32_constant(operands["w_scale"])
    if numbers is None or scales is None or zeros is None or not is_float32(operands["x"]):
        return None
    n, blocks, block = numbers.shape
    bits, (k,) = node.attributes.get_int("bits", 4), node.attributes.get_ints("rows", (0,))
    product = Product.of(node, fused, n, k)
    if product is None:
        return None
    weights = {
        "numbers": packed_numbers(numbers.reshape(n, -1)[:, :k], bits),
        "scales": scales.reshape(n, blocks),
        **product.weights,
    }
    if (zeros != 2 ** (bits - 1)).any():  # the value without zero points
        weights["zero_points"] = zeros.reshape(n, blocks)
    workload = Workload("block_dense", (product.rows, n, k, bits, block), epilogue=product.epilogue.steps)
    attributes = {"sizes": [product.rows, n, k], "bits": bits, "block": block, **product.attributes}
    return Call(
        "block_dense",
        product.inputs,
        attributes,
        {name: np.ascontiguousarray(weight) for name, weight in weights.items()},
        activation=product.epilogue.activation,
        stages=(workload,),
    )
