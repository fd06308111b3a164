"""Normalization of groups of channels of NHWC images in float32."""

from __future__ import annotations

import numpy as np

from kernels import _native
from kernels.timed import timed


@timed
def group_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    groups: int,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """``gamma * (x - mean(x)) / sqrt(variance(x) + eps) + beta`` over each image and group of neighboring channels.

    x has shape (n, h, w, c), gamma and beta (c,); ``groups`` divides c. With ``groups`` = c it is instance
    normalization. x is copied if it is not contiguous. ``out`` must be contiguous and may be x; None allocates it.
    ``isa`` is one of ``kernels.available_isas()``; None selects the best. ``threads`` is the number of threads of the
    shared pool, the caller included; small images use only the calling thread. The GIL is released. The image or group
    of a NaN becomes NaN. (Wu, He: Group Normalization, 2018)

    Raises:
        TypeError: an argument is not a float32 array.
        ValueError: a shape is wrong, ``groups`` does not divide c, this CPU lacks the ISA, or ``out`` overlaps an
            input and is not x.
    """
    return _native.group_norm(x, gamma, beta, groups, eps, out, isa, threads)
