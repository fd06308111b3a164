"""The errors of fast algorithms on data as networks have it, compared with the error that any float32 sum may have.

Images are smooth, not negative and far from zero, so that a kernel without a mean cancels nearly everything. The bound
on random data assumes independent signs, which does not hold here. The error of every algorithm is compared with the
condition of the sum instead: the roundings of a sum of products are relative to ``sum |w| |x|``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import kernels
from compiler.workloads import winograd
from compiler.workloads.workload import Workload
from tests.kernels.convolutions import layer

UNIT = float(np.finfo(np.float32).eps) / 2
# The largest error in units of the largest sum |w| |x| of the layer. Measured below with AVX-512: 8.3 for the
# direct sum, 3.4 for F(2x2), 13.3 for F(3x3), 9.6 for F(4x4), 16.1 for Strassen's algorithm.
ALLOWED = {"direct": 16, "winograd2": 8, "winograd3": 24, "winograd4": 20, "strassen": 32}

Array = np.ndarray


def smooth(shape: tuple[int, int, int, int], offset: float, seed: int = 0) -> Array:
    """Returns waves of several pixels with little noise, around an offset; not negative."""
    rng = np.random.default_rng(seed)
    n, h, w, c = shape
    y, x = np.mgrid[0:h, 0:w][..., None]
    waves = np.zeros((h, w, c))
    for _ in range(3):
        phase = y * rng.uniform(0.05, 0.3, c) + x * rng.uniform(0.05, 0.3, c) + rng.uniform(0, 6, c)
        waves += rng.standard_normal(c) * np.sin(phase)
    return np.maximum(offset + waves + 0.02 * rng.standard_normal((n, h, w, c)), 0).astype(np.float32)


def high_pass(o: int, c: int, size: int, seed: int = 0) -> Array:
    w = np.random.default_rng(seed).standard_normal((o, c, size, size))
    return ((w - w.mean((2, 3), keepdims=True)) / np.sqrt(c * size * size)).astype(np.float32)


def edges(o: int, c: int, size: int, seed: int = 0) -> Array:
    """A derivative across the kernel, smoothed along it, with another factor for each pair of channels."""
    along, across = np.hanning(size + 2)[1:-1], np.linspace(1, -1, size)
    factors = np.random.default_rng(seed).standard_normal((o, c, 1, 1))
    return (np.outer(along, across) * factors / np.sqrt(c)).astype(np.float32)


def random_weights(o: int, c: int, size: int, seed: int = 0) -> Array:
    w = np.random.default_rng(seed).standard_normal((o, c, size, size))
    return (w / np.sqrt(c * size * size)).astype(np.float32)


def corners(o: int, c: int, size: int, seed: int = 0) -> Array:
    """One tap of each kernel, in its corner: the weights for which Winograd's transforms grow most."""
    w = np.zeros((o, c, size, size), np.float32)
    w[:, :, 0, 0] = np.random.default_rng(seed).standard_normal((o, c)) / np.sqrt(c)
    return w


@pytest.mark.parametrize("offset", [0, 1, 10, 100])
@pytest.mark.parametrize("make_weight", [random_weights, high_pass, edges, corners])
@pytest.mark.parametrize("algorithm", ["direct", "winograd2", "winograd3", "winograd4"])
def test_convolutions(isa: str, algorithm: str, make_weight: Callable[..., Array], offset: float) -> None:
    if not kernels.register_tiles(isa):
        pytest.skip("the reference has no algorithms to choose from")
    size, stride = (7, 2) if algorithm == "winograd3" else (3, 1)
    c, o, side = 48, 32, 30
    workload = Workload.conv2d(1, side, side, c, o, (size, size), (stride, stride))
    x, weight = smooth((1, side, side, c), offset), make_weight(o, c, size)
    inputs = {"x": x, "weight": weight}
    assert algorithm == "direct" or winograd.ALGORITHMS[algorithm].applies(workload)
    schedule = {**layer(workload, inputs, isa).schedule(1, side, side), "algorithm": algorithm}
    y = layer(workload, inputs, isa, schedule=schedule)(x)
    error = np.abs(y - convolved(x, weight, stride))
    # Products with the same data: a tile of Winograd's mixes pixels, so the largest condition of the layer counts.
    condition = convolved(np.abs(x), np.abs(weight), stride).max()
    assert error.max() <= ALLOWED[algorithm] * UNIT * condition


def convolved(x: Array, weight: Array, stride: int) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), weight.shape[2:], (1, 2))
    return np.einsum("nhwcij,ocij->nhwo", windows[:, ::stride, ::stride], weight.astype(np.float64), optimize=True)


@pytest.mark.parametrize("outliers", [False, True])
@pytest.mark.parametrize("offset", [0, 10])
@pytest.mark.parametrize("algorithm", ["direct", "strassen"])
def test_matrix_products(isa: str, algorithm: str, offset: float, outliers: bool) -> None:
    """``outliers``: some features of all rows are a hundred times as large, as in transformers."""
    if not kernels.register_tiles(isa):
        pytest.skip("the reference has no algorithms to choose from")
    m, n, k = 128, 128, 256
    x = smooth((1, m, 1, k), offset)[0, :, 0]
    if outliers:
        x[:, ::50] *= 100
    weight = random_weights(n, k, 1)[:, :, 0, 0]
    schedule = {**kernels.Dense(weight, isa=isa).schedule(m), "algorithm": algorithm}
    y = kernels.Dense(weight, isa=isa, schedule=schedule)(x)
    error = np.abs(y - x.astype(np.float64) @ weight.T.astype(np.float64))
    condition = (np.abs(x).astype(np.float64) @ np.abs(weight).T.astype(np.float64)).max()
    assert error.max() <= ALLOWED[algorithm] * UNIT * condition
