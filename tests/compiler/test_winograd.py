"""Winograd's matrices against the sum they stand for, and the bound on its error against float32 arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compiler import winograd
from compiler.reference import make_inputs, reference, tolerance
from compiler.workload import Workload


def computed(x: np.ndarray, weight: np.ndarray, algorithm: str, dtype: type) -> np.ndarray:
    """The unpadded 3x3 convolution of one image by Winograd's algorithm, all of it in ``dtype``."""
    at, g, bt = (matrix.astype(dtype) for matrix in winograd.matrices(winograd.POINTS[algorithm]))
    m, t = at.shape
    _, h, w, _ = x.shape
    y = np.zeros((1, h - 2, w - 2, len(weight)), dtype)
    weights = g @ weight.astype(dtype) @ g.T
    for i, j in itertools.product(range(0, h - t + 1, m), range(0, w - t + 1, m)):
        tile = bt @ x[0, i : i + t, j : j + t].astype(dtype).transpose(2, 0, 1) @ bt.T
        product = np.einsum("crs,ocrs->ors", tile, weights)
        y[0, i : i + m, j : j + m] = (at @ product @ at.T).transpose(1, 2, 0)
    return y


@pytest.mark.parametrize("algorithm", winograd.POINTS)
@pytest.mark.parametrize("channels", [1, 5, 48])
def test_sums_and_their_errors(algorithm: str, channels: int) -> None:
    workload = Workload.conv2d(1, 22, 14, channels, 7, 3)  # whole tiles of 2x2 and of 4x4
    inputs = make_inputs(workload)
    x, weight = inputs["x"], inputs["weight"]
    exact = reference(workload, inputs)
    np.testing.assert_allclose(computed(x, weight, algorithm, np.float64), exact, rtol=1e-12, atol=1e-12)
    errors = np.abs(computed(x, weight, algorithm, np.float32) - exact)
    allowed = tolerance(workload, inputs, algorithm)
    assert np.all(errors <= allowed)
    assert allowed.mean() <= 100 * errors.max()


@pytest.mark.parametrize("algorithm", winograd.POINTS)
def test_a_bound_for_every_output(algorithm: str) -> None:
    padded = Workload.conv2d(2, 7, 6, 3, 5, 3, padding=(1, 0, 2, 1))
    inputs = make_inputs(padded)
    allowed = tolerance(padded, inputs, algorithm)
    assert allowed.shape == padded.output_shape
    image = np.pad(inputs["x"], [(0, 0), (1, 2), (0, 1), (0, 0)])
    unpadded = Workload.conv2d(2, 10, 7, 3, 5, 3)
    np.testing.assert_allclose(allowed, tolerance(unpadded, inputs | {"x": image}, algorithm), rtol=1e-9)


def test_the_matrices_of_the_literature() -> None:
    """Lavin and Gray's, but for a sign that a row of Bᵀ and one of G share."""
    at, g, bt = winograd.matrices((0, 1, -1))
    np.testing.assert_array_equal(at, [[1, 1, 1, 0], [0, 1, -1, 1]])
    np.testing.assert_array_equal(np.abs(g), [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(np.abs(bt), [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]])
    at, g, bt = winograd.matrices((0, 1, -1, 2, -2))
    np.testing.assert_array_equal(bt[0], [4, 0, -5, 0, 1, 0])
    np.testing.assert_array_equal(at[3], [0, 1, -1, 8, -8, 1])
    np.testing.assert_array_equal(24 * g[3], [1, 2, 4])


@pytest.mark.parametrize(("algorithm", "m"), [("winograd2", 2), ("winograd4", 4)])
def test_sizes(algorithm: str, m: int) -> None:
    at, g, bt = winograd.matrices(winograd.POINTS[algorithm])
    assert winograd.outputs(algorithm) == m
    assert (at.shape, g.shape, bt.shape) == ((m, m + 2), (m + 2, 3), (m + 2, m + 2))
