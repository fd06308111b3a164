"""Group normalization against its definition in float64, and its arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels

UNIT = float(np.finfo(np.float32).eps) / 2


def reference(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, groups: int, eps: float
) -> tuple[np.ndarray, np.ndarray]:
    """The result in float64, and the error that float32 may have: sums of up to 256 pixels, then float64."""
    n, h, w, c = x.shape
    wide = x.astype(np.float64).reshape(n, h, w, groups, c // groups)
    mean = wide.mean((1, 2, 4), keepdims=True)
    deviation = np.sqrt(wide.var((1, 2, 4), keepdims=True) + eps)
    normal = ((wide - mean) / deviation).reshape(x.shape)
    error = (min(256, h * w) + 8) * UNIT * np.abs(wide).mean((1, 2, 4), keepdims=True) / deviation
    terms = (np.abs(wide) + np.abs(mean)) / deviation
    relative = (min(256, h * w) + 8) * UNIT + 2 * error
    own = (error + np.abs(wide - mean) / deviation * relative + 6 * UNIT * terms).reshape(x.shape)
    return normal * gamma + beta, np.abs(gamma) * own * 1.01 + 4 * UNIT * np.abs(beta)


@pytest.mark.parametrize("isa", kernels.available_isas())
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 20)),
    st.integers(1, 6),
    st.integers(1, 9),
    st.sampled_from([0.0, 3.0, -100.0]),
    st.integers(1, 2),
)
def test_it_agrees_with_the_definition(
    isa: str, images: tuple[int, int, int], groups: int, size: int, mean: float, threads: int
) -> None:
    rng = np.random.default_rng(1)
    c = groups * size
    x = (mean + rng.standard_normal((*images, c))).astype(np.float32)
    gamma, beta = rng.standard_normal((2, c)).astype(np.float32)
    want, allowed = reference(x, gamma, beta, groups, 1e-3)
    found = kernels.group_norm(x, gamma, beta, groups, 1e-3, isa=isa, threads=threads)
    assert (np.abs(found - want) <= allowed).all()


@pytest.mark.parametrize("isa", kernels.available_isas())
def test_images_larger_than_a_block_of_sums(isa: str) -> None:
    rng = np.random.default_rng(2)
    x = (50 + rng.standard_normal((1, 90, 70, 34))).astype(np.float32)
    gamma, beta = rng.standard_normal((2, 34)).astype(np.float32)
    want, allowed = reference(x, gamma, beta, 17, 1e-5)
    assert (np.abs(kernels.group_norm(x, gamma, beta, 17, isa=isa, threads=2) - want) <= allowed).all()


def test_out_may_be_x() -> None:
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 6), np.float32)
    gamma, beta = np.ones(6, np.float32), np.zeros(6, np.float32)
    want = kernels.group_norm(x, gamma, beta, 2)
    assert kernels.group_norm(x, gamma, beta, 2, out=x) is x
    np.testing.assert_array_equal(x, want)


def test_a_nan_stays_in_its_image_and_group() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 6), np.float32)
    x[1, 2, 3, 4] = np.nan
    found = np.isnan(kernels.group_norm(x, np.ones(6, np.float32), np.zeros(6, np.float32), 2))
    assert found[1, :, :, 3:].all()
    assert found.sum() == found[1, :, :, 3:].sum()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 4}, "groups must divide the 6 channels, got 4"),
        ({"groups": 0}, "groups must divide the 6 channels, got 0"),
        ({"eps": -1.0}, "eps must be finite and not negative"),
        ({"gamma": np.ones(5, np.float32)}, "gamma"),
        ({"x": np.ones((4, 5, 6), np.float32)}, "x"),
    ],
)
def test_invalid_arguments(changes: dict[str, Any], message: str) -> None:
    given = {
        "x": np.ones((1, 4, 5, 6), np.float32),
        "gamma": np.ones(6, np.float32),
        "beta": np.ones(6, np.float32),
        "groups": 2,
    }
    with pytest.raises(ValueError, match=message):
        kernels.group_norm(**{**given, **changes})
