"""Sums, activations, softmax and layer normalisation in float32.

What the functions share: arrays of any rank, not empty. Inputs are copied first where they are not contiguous; ``out``
must be, may be an input of its shape itself, and is made where it is None. ``isa`` is one of
``kernels.available_isas()``, None the best. ``threads`` is how many threads of the shared pool may take part, the
caller included; small arrays keep to the calling thread. The GIL is released. NaN passes through. All raise

    TypeError: an argument is no float32 array.
    ValueError: a wrong shape, an unknown activation, an ISA that this CPU lacks, or ``out`` overlaps an input and is
        not that input.
"""

from __future__ import annotations

import numpy as np

from kernels import _native


def add(
    a: np.ndarray,
    b: np.ndarray,
    activation: str | None = None,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> np.ndarray:
    """``activation(a + b)`` of two arrays of one shape; activations as for :class:`kernels.Dense`."""
    return _native.add(a, b, activation, out, isa, threads)


def activation(
    x: np.ndarray, name: str, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1
) -> np.ndarray:
    """The activation called ``name``, as for :class:`kernels.Dense`, of every element."""
    return _native.activation(x, name, out, isa, threads)


def softmax(x: np.ndarray, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1) -> np.ndarray:
    """``e**x / sum(e**x)`` over the last axis, without overflow. Where that is all ``-inf``, zeros."""
    return _native.softmax(x, out, isa, threads)


def layer_norm(
    x: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    eps: float = 1e-5,
    residual: np.ndarray | None = None,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> np.ndarray:
    """``gamma * (v - mean(v)) / sqrt(variance(v) + eps) + beta`` over the last axis of v = x + residual.

    gamma and beta are (n,) for a last axis of n, residual as x. The variance is the mean of squared differences from
    the mean, which is exact where the shorter E[v²] - E[v]² cancels. (Ba, Kiros, Hinton: Layer Normalization, 2016.)
    """
    return _native.layer_norm(x, gamma, beta, eps, residual, out, isa, threads)
