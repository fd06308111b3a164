"""Sums, activations, softmax, layer normalization and RMS normalization in float32.

All functions take non-empty arrays of any rank. Inputs are copied if they are not contiguous. ``out`` must be
contiguous and may be the same array as an input of its shape; None allocates it. ``isa`` is one of
``kernels.available_isas()``; None selects the best. ``threads`` is the number of threads of the shared pool, the caller
included; small arrays use only the calling thread. The GIL is released. NaN propagates. All functions raise

    TypeError: an argument is not a float32 array.
    ValueError: a shape is wrong, the activation is unknown, this CPU lacks the ISA, or ``out`` overlaps an input and is
        not the same array.

Each one can also be timed in a native loop: ``kernels.softmax.time(number, repeat, x)``
(:class:`kernels.timed.TimedFunction`).
"""

from __future__ import annotations

import numpy as np

from kernels import _native
from kernels.timed import timed


@timed
def add(
    a: np.ndarray,
    b: np.ndarray,
    activation: str | None = None,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """``activation(a + b)`` of two arrays of one shape; activations as for :class:`kernels.Dense`, but no prelu."""
    return _native.add(a, b, activation, out, isa, threads)


@timed
def activation(
    x: np.ndarray, name: str, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1
) -> _native.FunctionCall:
    """Applies the activation ``name`` to every element; names are as for :class:`kernels.Dense`, but no prelu."""
    return _native.activation(x, name, out, isa, threads)


@timed
def softmax(
    x: np.ndarray, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1
) -> _native.FunctionCall:
    """``e**x / sum(e**x)`` over the last axis, without overflow. As NumPy, a row that contains
    NaN or ``+inf``, or nothing but ``-inf``, gives NaN."""
    return _native.row_operator("softmax", x, None, None, None, 0.0, out, isa, threads)


@timed
def layer_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float = 1e-5,
    residual: np.ndarray | None = None,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """``gamma * (v - mean(v)) / sqrt(variance(v) + eps) + beta`` over the last axis of v = x + residual.

    gamma and beta have shape (n,) for a last axis of n, residual the shape of x. The variance is the mean of squared
    differences from the mean, which is accurate where E[v²] - E[v]² cancels (Ba, Kiros, Hinton: Layer Normalization,
    2016).
    """
    return _native.row_operator("layer_norm", x, residual, gamma, beta, eps, out, isa, threads)


@timed
def rms_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    eps: float = 1e-5,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """``gamma * x / sqrt(mean(x²) + eps)`` over the last axis; gamma has shape (n,) for a last axis of n.

    (Zhang, Sennrich: Root Mean Square Layer Normalization, 2019)
    """
    return _native.row_operator("rms_norm", x, None, gamma, None, eps, out, isa, threads)
