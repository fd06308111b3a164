"""Normalization over the last axes, and of the norms of vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import data_input, required, static_shape


def layer_normalization(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``LayerNormalization`` whose mean or inverse deviation is read, of float64, or with a bias of another shape."""
    x, scale, bias = required(node.inputs[0]), required(node.inputs[1]), data_input(node, 2)
    read = any(output.uses() or output.is_graph_output() for output in node.outputs[1:])
    uneven = bias is not None and static_shape(bias) != static_shape(scale)
    shape, axis = static_shape(x), node.attributes.get_int("axis", -1) or 0
    broadcast = shape is not None and static_shape(scale) != shape[axis % len(shape) :]
    if not (read or uneven or broadcast or x.dtype == ir.DataType.DOUBLE):
        return None
    return _normalized(node, new, centered=True)


def rms_normalization(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``RMSNormalization``: TVM's importer fails for a scale that is broadcast."""
    answers = _normalized(node, new, centered=False)
    return None if answers is None else answers[:1]


def lp_normalization(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``LpNormalization (x)`` is x over its norm along an axis, and 0 if the norm is 0."""
    x = required(node.inputs[0])
    order = node.attributes.get_int("p", 2)
    if x.dtype is None or order not in (1, 2):
        return None
    axis = new.constant("axis", np.array([node.attributes.get_int("axis", -1)], np.int64))
    norm = new.op(f"ReduceL{order}", x, axis, keepdims=1)
    zero = new.constant("zero", np.array(0, x.dtype.numpy()))
    return [new.op("Where", new.op("Equal", norm, zero), zero, new.op("Div", x, norm))]


def batch_normalization(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``BatchNormalization`` in training mode: TVM's moving averages differ."""
    x, scale, bias, mean, variance = map(required, node.inputs)
    if not node.attributes.get_int("training_mode", 0) or x.shape is None or x.dtype is None:
        return None
    rank = len(x.shape)
    axes = new.constant("axes", np.array([0, *range(2, rank)], np.int64))
    wide = new.constant("wide", np.array([1, -1, *[1] * (rank - 2)], np.int64))
    flat = new.constant("flat", np.array([-1], np.int64))
    found = new.op("ReduceMean", x, axes, keepdims=1)
    y = new.op("Sub", x, found)
    spread = new.op("ReduceMean", new.op("Mul", y, y), axes, keepdims=1)
    dtype = x.dtype.numpy()
    epsilon = new.constant("epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), dtype))
    y = new.op("Div", y, new.op("Sqrt", new.op("Add", spread, epsilon)))
    y = new.op("Add", new.op("Mul", y, new.op("Reshape", scale, wide)), new.op("Reshape", bias, wide))
    momentum = node.attributes.get_float("momentum", 0.9) or 0.0
    kept, renewed = (new.constant("momentum", np.array(number, dtype)) for number in (momentum, 1 - momentum))
    moving = [
        new.op("Add", new.op("Mul", old, kept), new.op("Mul", new.op("Reshape", now, flat), renewed))
        for old, now in ((mean, found), (variance, spread))
    ]
    return [y, *moving]


def _normalized(node: ir.Node, new: Replacement, centered: bool) -> Sequence[ir.Value] | None:
    """Returns the normalized tensor, the mean and the inverse deviation; None for an unknown rank."""
    x, scale, bias = required(node.inputs[0]), required(node.inputs[1]), data_input(node, 2)
    if x.shape is None or x.dtype is None:
        return None
    rank, axis = len(x.shape), node.attributes.get_int("axis", -1) or 0
    axes = new.constant("axes", np.arange(axis % rank, rank, dtype=np.int64))
    stashed = ir.DataType(node.attributes.get_int("stash_type", 1) or x.dtype.value)
    y = x if x.dtype == stashed else new.op("Cast", x, to=stashed)
    mean = new.op("ReduceMean", y, axes, keepdims=1)
    y = new.op("Sub", y, mean) if centered else y
    epsilon = new.constant("epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), stashed.numpy()))
    variance = new.op("Add", new.op("ReduceMean", new.op("Mul", y, y), axes, keepdims=1), epsilon)
    inverse = new.op("Reciprocal", new.op("Sqrt", variance))
    y = new.op("Mul", y, inverse)
    y = y if x.dtype == stashed else new.op("Cast", y, to=x.dtype)
    y = new.op("Mul", y, scale)
    return [y if bias is None else new.op("Add", y, bias), mean, inverse]
