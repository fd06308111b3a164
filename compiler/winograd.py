"""Winograd's minimal filtering F(m×m, 3×3): its matrices, and how far float32 arithmetic may be off the exact sum.

Y = Aᵀ·[Σ_c (G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A for tiles d of (m+2)×(m+2) inputs and Y of m×m outputs, where Aᵀ, G and Bᵀ follow
from m+1 points and infinity (Toom-Cook). Lavin, Gray: Fast Algorithms for Convolutional Neural Networks (CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.polynomial import polynomial

Array = np.ndarray

TAPS = 3
# By the algorithm's name in a schedule: those of the kernels. Infinity is one more of each.
POINTS: Mapping[str, tuple[float, ...]] = {"winograd2": (0, 1, -1), "winograd4": (0, 0.625, -0.625, 1.5, -1.5)}

_UNIT = float(np.finfo(np.float32).eps) / 2
_DEVIATIONS = 6


class Matrices(NamedTuple):
    """``at`` (m, t), ``g`` (t, 3) and ``bt`` (t, t) with t = m + 2."""

    at: Array
    g: Array
    bt: Array


def outputs(algorithm: str) -> int:
    """m: an algorithm of POINTS makes m×m outputs at a time."""
    return len(POINTS[algorithm]) - TAPS + 2


def matrices(points: Sequence[float]) -> Matrices:
    """The matrices of F(m, 3) for m + 1 different finite points, in float64."""
    size = len(points) + 1
    rows = size - TAPS + 1
    at, g, bt = np.zeros((rows, size)), np.zeros((size, TAPS)), np.zeros((size, size))
    for i, point in enumerate(points):
        others = [other for j, other in enumerate(points) if j != i]
        bt[i, :-1] = polynomial.polyfromroots(others)
        g[i] = point ** np.arange(TAPS) / np.prod(point - np.array(others))
        at[:, i] = point ** np.arange(rows)
    bt[-1] = polynomial.polyfromroots(points)
    g[-1, -1] = at[-1, -1] = 1
    return Matrices(at, g, bt)


def error_bound(x: Array, weight: Array, pads: tuple[int, int, int, int], points: Sequence[float]) -> Array:
    """How far a float32 answer can be off, for each output, but for one in a thousand million.

    For x (n, h, w, c), weight (o, c, 3, 3) of stride 1 and pads (top, left, bottom, right): (n, oh, ow, o), float64.

    A worst-case bound is n·u times the algorithm with absolute values for all of its numbers, u = 2⁻²⁴ and n the
    roundings on the way of one product: thousands of times what is ever seen, since neither do n roundings all go the
    same way, nor do products of many channels all have one sign. So it is taken that roundings are independent and of
    mean zero (Higham, Mary: A New Approach to Probabilistic Rounding Error Analysis, SISC 2019), and so are the signs
    of the products, as those of random inputs are. Then variances add up where magnitudes would: within tiles
    transformed by |G| and |Bᵀ| (the worst case still), products are squared, summed over channels, and brought to the
    outputs by (Aᵀ)². The bound is six standard deviations, 6·u·√(n·that).
    """
    at, g, bt = (np.abs(matrix) for matrix in matrices(points))
    m, size = at.shape
    n, h, w, c = x.shape
    top, left, bottom, right = pads
    oh, ow = h + top + bottom - TAPS + 1, w + left + right - TAPS + 1
    rows, columns = -(-oh // m), -(-ow // m)
    padding = (top, rows * m + TAPS - 1 - h - top), (left, columns * m + TAPS - 1 - w - left)
    padded = np.pad(np.abs(x).astype(np.float64), [(0, 0), *padding, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    tiles = windows[:, ::m, ::m].reshape(-1, c, size, size)
    inputs = (bt @ tiles @ bt.T) ** 2
    weights = (g @ np.abs(weight).astype(np.float64) @ g.T) ** 2
    products = inputs.transpose(2, 3, 0, 1) @ weights.transpose(2, 3, 1, 0)  # (t, t, tiles, o)
    variance = at**2 @ products.transpose(2, 3, 0, 1) @ at.T**2  # (tiles, o, m, m)
    image = variance.reshape(n, rows, columns, -1, m, m).transpose(0, 1, 4, 2, 5, 3)
    # A product of a matrix's row rounds as often as that has entries, each of them has a rounding of its own, and two
    # products are on the way: along the tile's rows and along its columns.
    roundings = c + 2 * 2 * sum(int(np.count_nonzero(matrix, axis=1).max()) for matrix in (at, g, bt))
    merged = image.reshape(n, rows * m, columns * m, -1)[:, :oh, :ow]
    return _DEVIATIONS * _UNIT * sqrt(roundings) * np.sqrt(merged)
