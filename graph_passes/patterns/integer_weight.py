"""Weights of 8-bit integers."""

from __future__ import annotations

import numpy as np

_MIDDLE = 128


def signed_weight(weight: np.ndarray | None, zero_point: np.ndarray | None) -> np.ndarray | None:
    """Returns a weight as int8 with the zero point 0; None if it has another one, or not 8 bits."""
    if weight is None or zero_point is None:
        return None
    if weight.dtype == np.int8 and not zero_point.any():
        return weight
    if weight.dtype == np.uint8 and (zero_point == _MIDDLE).all():
        return (weight ^ _MIDDLE).view(np.int8)
    return None
