"""Convolutions and dense layers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32, shape_of, vector
from compiler.workloads.workload import ACTIVATIONS, Workload
from graph_passes.patterns.layers import Layer as Fused
from graph_passes.values import data_input


def conv2d(node: ir.Node) -> Call | None:
    """A fused convolution on images with channels last."""
    fused = Fused.of(node)
    weight, bias = float32_constant(data_input(node, 1)), None
    x = node.inputs[0]
    if fused is None or not fused.channels_last or x is None or weight is None or not is_float32(x):
        return None
    image, output = shape_of(x), shape_of(node.outputs[0])
    if len(image) != 4 or len(output) != 4 or weight.ndim != 4:
        return None
    if fused.bias:
        bias = vector(data_input(node, 2), weight.shape[0])
        if bias is None:
            return None
    residual = node.inputs[-1] if fused.residual else None
    if fused.residual and shape_of(residual) != output:
        return None
    ints = node.attributes.get_ints
    strides, dilations = tuple(ints("strides", (1, 1))), tuple(ints("dilations", (1, 1)))
    padding = tuple(ints("pads", (0, 0, 0, 0)))
    if len(strides) != 2 or len(dilations) != 2 or len(padding) != 4 or min(padding) < 0:
        return None
    groups = node.attributes.get_int("group", 1)
    epilogue, activation = _epilogue(node, fused)
    workload = Workload.conv2d(
        *image,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        (strides[0], strides[1]),
        (padding[0], padding[1], padding[2], padding[3]),
        (dilations[0], dilations[1]),
        groups,
        epilogue=epilogue,
    )
    attributes = {
        "x": list(image),
        "weight_shape": list(weight.shape),
        "stride": list(strides),
        "padding": list(padding),
        "dilation": list(dilations),
        "groups": groups,
        "residual": fused.residual,
        "activation": workload.activation,
    }
    weights = {"weight": weight} | ({} if bias is None else {"bias": bias})
    inputs = (x, residual) if residual is not None else (x,)
    return Call("conv2d", inputs, attributes, weights, workload, activation)


def dense(node: ir.Node) -> Call | None:
    """A matrix times a constant one: MatMul or Gemm, with what follows it."""
    fused = Fused.of(node)
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
    if len(rows) < 2 or rows[-1] != k or not output:
        return None
    bias = None
    if fused.bias:
        bias = vector(data_input(node, 2), n)
        if bias is None:
            return None
    residual = node.inputs[-1] if fused.residual else None
    if fused.residual and shape_of(residual) != output:
        return None
    epilogue, activation = _epilogue(node, fused)
    m = prod(rows[:-1])
    workload = Workload.dense(m, n, k, epilogue=epilogue)
    attributes = {"sizes": [m, n, k], "residual": fused.residual, "activation": workload.activation}
    weights = {"weight": _scaled(weight, scales["alpha"])}
    if bias is not None:
        weights["bias"] = _scaled(bias, scales["beta"])
    inputs = (x, residual) if residual is not None else (x,)
    return Call("dense", inputs, attributes, weights, workload, activation)


def _scaled(array: np.ndarray, by: float) -> np.ndarray:
    return np.ascontiguousarray(array if by == 1.0 else array * np.float32(by))


def _epilogue(node: ir.Node, fused: Fused) -> tuple[tuple[str, ...], tuple[str, Mapping[str, Any]] | None]:
    """What a kernel does after the sum, and the activation that it has to leave to others."""
    parts = [name for name, there in (("bias", fused.bias), ("residual", fused.residual)) if there]
    if fused.activation is None:
        return tuple(parts), None
    if fused.activation in ACTIVATIONS:
        return (*parts, fused.activation), None
    numbers = {name: node.attributes.get_float(name, 0.0) for name in fused.activation_attributes}
    return tuple(parts), (fused.activation, numbers)
