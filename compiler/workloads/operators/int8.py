"""Workloads of int8: products of x, quantized to 8 bits by its range, with weights of int8.

x, residual and output are float32. Inputs have a weight in float32, too, which kernels round to int8 with a scale for
each output channel.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import kernels
from compiler.workloads.operators.operator import Array, Arrays, Instance, Sizes

INT8 = "int8"


def weight_scales(weight: Array) -> Array:
    """Returns the scale of each output channel, with which its integers are at most 127."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    return np.where(largest > 0, largest / 127, 1).astype(weight.dtype)


def quantized_weight(workload: Instance, weight: Array) -> tuple[Array, kernels.Quantization | None]:
    """Returns the weight as the workload's kernel takes it."""
    if workload.dtype != INT8:
        return weight, None
    scales = weight_scales(weight)
    steps = weight / scales.reshape(-1, *[1] * (weight.ndim - 1))
    return np.clip(np.rint(steps), -127, 127).astype(np.int8), kernels.Quantization(scales.astype(np.float32))


def rounding(reference: Callable[[Sizes, Arrays], Array], sizes: Sizes, inputs: Arrays) -> Array:
    """Returns the largest difference that rounding x and the weight makes.

    A step of x for each weight: half of it, and another half because rounding the zero point moves the range. Half a
    step of the weight for each x.

    Args:
        reference: of the operator.
        inputs: in float64.
    """
    x, weight = np.abs(inputs["x"]), np.abs(inputs["weight"])
    step = (max(inputs["x"].max(), 0) - min(inputs["x"].min(), 0)) / 255
    half_steps = weight_scales(weight).reshape(-1, *[1] * (weight.ndim - 1)) / 2
    of_x = reference(sizes, {"x": np.full_like(x, step), "weight": weight})
    return of_x + reference(sizes, {"x": x + step, "weight": np.broadcast_to(half_steps, weight.shape)})
