"""Recognizes a scale and shift of channels, y = scale * x + shift along one axis, in any operators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import constant, data_input, is_op

FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")


@dataclass(frozen=True)
class Affine:
    """A scale and shift, float64 of shape (channels,), or (1,) if all channels are equal."""

    scale: np.ndarray
    shift: np.ndarray

    def then(self, other: Affine) -> Affine:
        """Returns the composition: ``self``, then ``other``."""
        return Affine(self.scale * other.scale, self.shift * other.scale + other.shift)

    @property
    def only_shifts(self) -> bool:
        return bool((self.scale == 1).all())

    @property
    def only_scales(self) -> bool:
        return bool((self.shift == 0).all())

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())

    def over(self, channels: int) -> Affine:
        """Returns the same scale and shift with one number per channel."""
        return Affine(np.broadcast_to(self.scale, channels), np.broadcast_to(self.shift, channels))


IDENTITY = Affine(np.ones(1), np.zeros(1))


def affine(node: ir.Node, x: ir.Value, axis: int, rank: int, channels: int) -> Affine | str | None:
    """Returns the scale and shift that ``node`` applies to ``x``.

    ``x`` has ``rank`` dimensions and ``channels`` elements along ``axis``. Returns None if the node does not scale or
    shift, and a reason if it is a BatchNormalization along another axis or without constant statistics.
    """
    if is_op(node, "BatchNormalization"):
        return _batch_norm(node, x, axis, channels)
    if not is_op(node, "Add", "Sub", "Mul", "Div"):
        return None
    first = node.inputs[0] is x
    operand = constant(node.inputs[1 if first else 0])
    if operand is None or x.dtype is None or x.dtype.name not in FLOATS:
        return None
    along = _along(operand.astype(np.float64), axis, rank, channels)
    if along is None:
        return None
    one, zero = np.ones(1), np.zeros(1)
    if node.op_type == "Add":
        return Affine(one, along)
    if node.op_type == "Mul":
        return Affine(along, zero)
    if node.op_type == "Sub":
        return Affine(one, -along) if first else Affine(-one, along)
    if not first or not along.all():
        return None  # c / x does not scale x, and a divisor of zero has no reciprocal
    return Affine(1 / along, zero)


def _along(operand: np.ndarray, axis: int, rank: int, channels: int) -> np.ndarray | None:
    """Returns the operand as (channels,) or (1,); None if it varies along another axis or broadcasts x."""
    if operand.ndim > rank:
        return None
    shape = (1,) * (rank - operand.ndim) + operand.shape
    if any(size != 1 for place, size in enumerate(shape) if place != axis) or shape[axis] not in (1, channels):
        return None
    return operand.reshape(-1)


def _batch_norm(node: ir.Node, x: ir.Value, axis: int, channels: int) -> Affine | str:
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta (Ioffe and Szegedy, 2015)."""
    if axis != 1:
        return "its channels are on another axis than those of its input"
    # Before opset 14, further outputs are the only sign of training, whether they are read or not.
    if node.attributes.get_int("training_mode", 0) or any(output.name for output in node.outputs[1:]):
        return "it is in training mode"
    if not node.attributes.get_int("spatial", 1):
        return "its statistics are per element, not per channel"
    if node.inputs[0] is not x:
        return "it reads the value as a statistic"
    statistics = [constant(data_input(node, place)) for place in range(1, 5)]
    if any(array is None for array in statistics):
        return "its statistics are not constant"
    gamma, beta, mean, variance = (np.asarray(array, np.float64).reshape(-1) for array in statistics)
    spread = variance + node.attributes.get_float("epsilon", 1e-5)
    if not (spread > 0).all():
        return "variance + epsilon is not positive"
    if gamma.shape != (channels,):
        return f"its statistics have {gamma.size} channels, its input has {channels}"
    scale = gamma / np.sqrt(spread)
    return Affine(scale, beta - scale * mean)
