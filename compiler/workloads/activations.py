"""The activations that a kernel can apply, in float64.

``ACTIVATIONS`` has those of one number. The other one, ``PRELU``, also takes the slope of the channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

Array = np.ndarray

PRELU = "prelu"
MAX_SLOPE = 1.13  # no activation of one number has a larger slope

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    # Split at zero so that exp never overflows.
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "silu": lambda x: x * _sigmoid(x),
    "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
}


def prelu(x: Array, slopes: Array) -> Array:
    """Returns x, times the slope of its column where it is negative."""
    return np.where(x < 0, slopes * x, x)
