"""Folds a scale and shift of channels into the constants of a convolution or product.

``fold_batch_norm`` documents the algebra. Each function changes the constants of a node and returns None, or changes
nothing and returns the reason. ``does`` has one number per channel. Sums are computed in float64 and rounded once to
the type of the weight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from graph_passes.lazy import ir
from graph_passes.patterns.affine import Affine
from graph_passes.values import constant, data_input, graph_of, new_constant


def _renewed(node: ir.Node, place: int, array: np.ndarray, like: ir.Value | None, name: str) -> str | None:
    """Replaces a constant input of a node, in the type of its weight. Returns the reason if it is impossible."""
    weight = constant(node.inputs[1])
    if weight is None:
        return "the weight is not constant"
    with np.errstate(over="ignore"):
        cast = array.astype(weight.dtype)
    if not np.isfinite(cast.astype(np.float64)).all():
        return f"the folded weights exceed {weight.dtype}"
    value = new_constant(graph_of(node), f"{(like.name if like else None) or name}_folded", cast)
    if len(node.inputs) <= place:
        node.resize_inputs(place + 1)
    node.replace_input_with(place, value)
    return None


def _bias(node: ir.Node, channels: int) -> np.ndarray | None:
    """Returns the bias in float64; zeros if the node has no bias, None if it is not constant."""
    given = data_input(node, 2)
    if given is None:
        return np.zeros(channels)
    array = constant(given)
    return None if array is None else array.astype(np.float64)


def _after_conv(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    bias = _bias(node, weight.shape[0])
    if bias is None:
        return "the preceding bias is not constant"
    scale = does.scale.reshape(-1, *[1] * (weight.ndim - 1))
    return _renew(node, weight.astype(np.float64) * scale, does.scale * bias + does.shift)


def _after_conv_transpose(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    bias = _bias(node, does.scale.size)
    if bias is None:
        return "the preceding bias is not constant"
    groups = node.attributes.get_int("group", 1)
    grouped = weight.astype(np.float64).reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    scale = does.scale.reshape(groups, 1, weight.shape[1], *[1] * (weight.ndim - 2))
    return _renew(node, (grouped * scale).reshape(weight.shape), does.scale * bias + does.shift)


def _after_gemm(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    bias = _bias(node, does.scale.size)
    if bias is None:
        return "the preceding bias is not constant"
    scale = does.scale[:, None] if node.attributes.get_int("transB", 0) else does.scale
    beta = node.attributes.get_float("beta", 1.0)
    obstacle = _renew(node, weight.astype(np.float64) * scale, does.scale * beta * bias + does.shift)
    if obstacle is None:
        node.attributes.add(ir.AttrFloat32("beta", 1.0))
    return obstacle


def _after_matmul(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    return _renewed(node, 1, weight.astype(np.float64) * does.scale, node.inputs[1], "weight")


def _renew(node: ir.Node, weight: np.ndarray, bias: np.ndarray) -> str | None:
    """Replaces both constants or neither. A bias of zeros is not added."""
    given, old = data_input(node, 2), node.inputs[1]
    obstacle = _renewed(node, 1, weight, old, "weight")
    if obstacle is None and (given is not None or bias.any()):
        obstacle = _renewed(node, 2, bias, given, f"{node.outputs[0].name}_bias")
        if obstacle is not None:
            node.replace_input_with(1, old)
    return obstacle


AFTER: Mapping[str, Callable[[ir.Node, np.ndarray, Affine], str | None]] = {
    "Conv": _after_conv,
    "ConvTranspose": _after_conv_transpose,
    "Gemm": _after_gemm,
    "MatMul": _after_matmul,
}


def _before_conv(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    groups, outputs, inputs = node.attributes.get_int("group", 1), weight.shape[0], weight.shape[1]
    if does.scale.size != groups * inputs:
        return "it has another number of channels"
    bias = _bias(node, outputs)
    if bias is None:
        return "the following bias is not constant"

    def per_weight(of_channel: np.ndarray) -> np.ndarray:
        """Expands one number per input channel to the shape (o, c / groups, 1, ...) of the weight."""
        return np.repeat(of_channel.reshape(groups, inputs), outputs // groups, axis=0).reshape(
            outputs, inputs, *[1] * (weight.ndim - 2)
        )

    wide = weight.astype(np.float64)
    shifted = (wide * per_weight(does.shift)).sum(axis=tuple(range(1, weight.ndim)))
    return _renew(node, wide * per_weight(does.scale), bias + shifted)


def _before_gemm(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    transposed = node.attributes.get_int("transB", 0)
    wide = weight.astype(np.float64)
    matrix = wide.T if transposed else wide
    bias = _bias(node, matrix.shape[1])
    if bias is None:
        return "the following bias is not constant"
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    scaled = matrix * does.scale[:, None]
    obstacle = _renew(node, scaled.T if transposed else scaled, beta * bias + alpha * (does.shift @ matrix))
    if obstacle is None:
        node.attributes.add(ir.AttrFloat32("beta", 1.0))
    return obstacle


def _before_matmul(node: ir.Node, weight: np.ndarray, does: Affine) -> str | None:
    return _renewed(node, 1, weight.astype(np.float64) * does.scale[:, None], node.inputs[1], "weight")


BEFORE: Mapping[str, Callable[[ir.Node, np.ndarray, Affine], str | None]] = {
    "Conv": _before_conv,
    "Gemm": _before_gemm,
    "MatMul": _before_matmul,
}
