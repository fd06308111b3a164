"""Winograd's matrices against the sum they stand for, and the bound on its error against float32 arithmetic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from compiler.workloads import winograd
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import Workload


def layer(algorithm: str, n: int, h: int, w: int, c: int, o: int, padding: tuple[int, int, int, int]) -> Workload:
    used = winograd.ALGORITHMS[algorithm]
    workload = Workload.conv2d(n, h, w, c, o, used.kernel, used.stride, padding)
    assert used.applies(workload)
    return workload


def computed(x: np.ndarray, weight: np.ndarray, algorithm: str, dtype: type) -> np.ndarray:
    """The unpadded convolution of one image, of whole tiles, by Winograd's algorithm, all of it in ``dtype``."""
    used = winograd.ALGORITHMS[algorithm]
    at, g, bt = (matrix.astype(dtype) for matrix in winograd.matrices(used.points, used.taps))
    m, t = at.shape
    image = winograd.phases_of_images(x.astype(dtype), used.stride)
    weights = g @ winograd.phases_of_kernels(weight.astype(dtype), used.stride, used.taps) @ g.T
    _, h, w, _ = image.shape
    y = np.zeros((1, h - t + m, w - t + m, len(weight)), dtype)
    for i, j in itertools.product(range(0, h - t + 1, m), range(0, w - t + 1, m)):
        tile = bt @ image[0, i : i + t, j : j + t].transpose(2, 0, 1) @ bt.T
        product = np.einsum("crs,ocrs->ors", tile, weights)
        y[0, i : i + m, j : j + m] = (at @ product @ at.T).transpose(1, 2, 0)
    return y


@pytest.mark.parametrize("algorithm", winograd.ALGORITHMS)
@pytest.mark.parametrize("channels", [1, 5, 48])
def test_sums_and_their_errors(algorithm: str, channels: int) -> None:
    used = winograd.ALGORITHMS[algorithm]
    h, w = (used.stride * (12 * tiles + used.taps - 1) for tiles in (2, 1))  # whole tiles of 2x2, 3x3 and 4x4
    workload = layer(algorithm, 1, h, w, channels, 7, (0, 0, 0, 0))
    inputs = make_inputs(workload)
    x, weight = inputs["x"], inputs["weight"]
    exact = reference(workload, inputs)
    np.testing.assert_allclose(computed(x, weight, algorithm, np.float64), exact, rtol=1e-12, atol=1e-12)
    errors = np.abs(computed(x, weight, algorithm, np.float32) - exact)
    allowed = tolerance(workload, inputs, algorithm)
    assert np.all(errors <= allowed)
    assert allowed.mean() <= 100 * errors.max()


@pytest.mark.parametrize("algorithm", winograd.ALGORITHMS)
def test_a_bound_for_every_output(algorithm: str) -> None:
    padded = layer(algorithm, 2, 7, 6, 3, 5, (1, 0, 2, 1))
    inputs = make_inputs(padded)
    allowed = tolerance(padded, inputs, algorithm)
    assert allowed.shape == padded.output_shape
    image = np.pad(inputs["x"], [(0, 0), (1, 2), (0, 1), (0, 0)])
    unpadded = layer(algorithm, 2, 10, 7, 3, 5, (0, 0, 0, 0))
    np.testing.assert_allclose(allowed, tolerance(unpadded, inputs | {"x": image}, algorithm), rtol=1e-9)


def test_a_dilated_convolution_is_several_without_dilation() -> None:
    dilated = Workload.conv2d(2, 9, 8, 3, 5, 3, padding=(1, 0, 2, 1), dilation=(2, 3))
    inputs = make_inputs(dilated)
    allowed = tolerance(dilated, inputs, "winograd4")
    assert allowed.shape == dilated.output_shape == (2, 8, 3, 5)
    image = np.pad(inputs["x"], [(0, 0), (1, 2), (0, 1), (0, 0)])
    for i, j in itertools.product(range(2), range(3)):
        part = image[:, i::2, j::3]
        n, h, w, c = part.shape
        plain = layer("winograd4", n, h, w, c, 5, (0, 0, 0, 0))
        np.testing.assert_allclose(
            allowed[:, i::2, j::3], tolerance(plain, inputs | {"x": part}, "winograd4"), rtol=1e-9
        )


def test_tiles_of_dilated_outputs() -> None:
    used = winograd.ALGORITHMS["winograd4"]
    counted = [
        used.tiles(Workload.conv2d(2, 10, w, 1, 1, 3, padding=(dilation, 1), dilation=(dilation, 1)))
        for w, dilation in ((9, 1), (8, 2), (4, 3), (4, 64))
    ]
    assert counted == [2 * 3 * 3, 2 * (2 + 2) * 2, 2 * 3 * 1, 2 * 10 * 1]


def test_the_matrices_of_the_literature() -> None:
    """Lavin and Gray's, but for a sign that a row of Bᵀ and one of G share."""
    at, g, bt = winograd.matrices((0, 1, -1), taps=3)
    np.testing.assert_array_equal(at, [[1, 1, 1, 0], [0, 1, -1, 1]])
    np.testing.assert_array_equal(np.abs(g), [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]])
    np.testing.assert_array_equal(np.abs(bt), [[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]])
    at, g, bt = winograd.matrices((0, 1, -1, 2, -2), taps=3)
    np.testing.assert_array_equal(bt[0], [4, 0, -5, 0, 1, 0])
    np.testing.assert_array_equal(at[3], [0, 1, -1, 8, -8, 1])
    np.testing.assert_array_equal(24 * g[3], [1, 2, 4])


@pytest.mark.parametrize(("algorithm", "m", "r"), [("winograd2", 2, 3), ("winograd3", 3, 4), ("winograd4", 4, 3)])
def test_sizes(algorithm: str, m: int, r: int) -> None:
    used = winograd.ALGORITHMS[algorithm]
    at, g, bt = winograd.matrices(used.points, used.taps)
    assert (used.outputs, used.taps, used.size) == (m, r, m + r - 1)
    assert (at.shape, g.shape, bt.shape) == ((m, m + r - 1), (m + r - 1, r), (m + r - 1, m + r - 1))
