"""Weights of 8-bit integers, and their scales."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

IN_FLOAT = "quantized, but computed in float32"  # the beginning of a remark on a layer, before its reason
_MIDDLE = 128
_LEAST_CHANNELS = 8  # of the output of a group
LONGEST_SUM = (2**31 - 1) // (255 * 128)  # products of an unsigned and a signed integer of 8 bits that fit int32


def has_integer_kernel(weight: Sequence[int], groups: int) -> bool:
    """Whether a convolution with a weight of this shape, OIHW, is computed in integers.

    The sums of groups of a few channels use a part of a vector, unless each group is one channel.
    """
    channels = weight[0] // max(groups, 1)
    return groups == 1 or channels >= _LEAST_CHANNELS or channels == weight[1] == 1


def signed_weight(weight: np.ndarray | None, zero_point: np.ndarray | None) -> np.ndarray | None:
    """Returns a weight as int8 with the zero point 0; None if it has another one, or not 8 bits."""
    if weight is None or zero_point is None:
        return None
    if weight.dtype == np.int8 and not zero_point.any():
        return weight
    if weight.dtype == np.uint8 and (zero_point == _MIDDLE).all():
        return (weight ^ _MIDDLE).view(np.int8)
    return None


def are_scales(array: np.ndarray) -> bool:
    """Whether an array consists of scales that kernels take: float32 numbers that, like their inverses, are finite."""
    with np.errstate(divide="ignore", over="ignore"):
        return array.dtype == np.float32 and bool(((array > 0) & np.isfinite(array) & np.isfinite(1 / array)).all())
