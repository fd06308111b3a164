"""Calls of kernels, and the queries on values that the recognizers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from compiler.workloads.workload import Workload
from graph_passes.values import constant, known_shape, static_shape


@dataclass(frozen=True)
class Call:
    """A call of a kernel that computes a node.

    Attributes:
        op, attributes, weights, workload: as in :class:`compiler.workloads.layer.Layer`.
        inputs: the tensors that the kernel reads, in its order.
        activation: an activation that the kernel does not support and that generated code computes after it: (its name
            in ``graph_passes.patterns.activations``, its attributes).
        converted_by: the scale and the zero point of 8-bit integers to which generated code converts the output after
            the activation.
        output_perm: the transposition of the kernel's output that yields the node's output; None if they are equal.
        stages: the workloads of a chain, in order.
        outputs: which outputs of the node the kernel computes. No other output is used.
        exact: whether fast algorithms, which round more than a plain sum, and bfloat16 must not be used.
    """

    op: str
    inputs: tuple[ir.Value, ...]
    attributes: Mapping[str, Any]
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)
    workload: Workload | None = None
    activation: tuple[str, Mapping[str, float]] | None = None
    converted_by: tuple[ir.Value | None, ...] = ()
    output_perm: tuple[int, ...] | None = None
    stages: tuple[Workload, ...] = ()
    outputs: tuple[int, ...] = (0,)
    exact: bool = False


def is_float32(*values: ir.Value | None) -> bool:
    return all(value is not None and value.dtype == ir.DataType.FLOAT for value in values)


def float32_constant(value: ir.Value | None) -> np.ndarray | None:
    """Returns the elements of a float32 constant; None for any other value."""
    array = constant(value)
    return array if array is not None and array.dtype == np.float32 else None


def shape_of(value: ir.Value | None) -> tuple[int, ...]:
    """Returns a static shape without empty axes; () for any other shape, which no kernel supports."""
    shape = static_shape(value)
    return shape if shape is not None and all(size >= 1 for size in shape) else ()


def axis_of(node: ir.Node, rank: int, default: int) -> int | None:
    """Returns the attribute ``axis`` of a node, from 0 to rank - 1; None if it is out of range."""
    axis = node.attributes.get_int("axis", default)
    return axis % rank if -rank <= axis < rank else None


def vector(value: ir.Value | None, size: int, rank: int | None = None) -> np.ndarray | None:
    """Returns a constant broadcast to one number per column; None if the value is not such a constant.

    Args:
        rank: the largest number of axes of the constant, beyond which it would add axes to the output.
    """
    array = float32_constant(value)
    if array is None or (rank is not None and array.ndim > rank):
        return None
    if array.size not in (1, size) or any(n != 1 for n in array.shape[:-1]):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (size,)))


__all__ = ["Call", "axis_of", "constant", "float32_constant", "is_float32", "known_shape", "shape_of", "vector"]
