"""``kernels.BlockDense`` against a float64 answer to the exact values of the weights."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.activations import ACTIVATIONS, MAX_SLOPE, PRELU, prelu
from compiler.workloads.operators.bounds import UNIT, gamma
from tests.kernels.memory import next_to_forbidden_page

Case = dict[str, Any]


def numbers_of(rng: np.random.Generator, n: int, k: int, bits: int) -> np.ndarray:
    return rng.integers(0, 2**bits, (n, k), dtype=np.uint8)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draws rows on both sides of the limit of few rows, columns around one and two panels, and any blocks."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    bits = draw(st.sampled_from([2, 4, 8]))
    m = draw(st.one_of(st.integers(1, 5), st.integers(6, 40)))
    n = draw(st.one_of(st.integers(1, 33), st.integers(34, 100)))
    k = draw(st.one_of(st.integers(1, 40), st.integers(41, 1200)))
    block = draw(st.one_of(st.just(k), st.integers(1, 5).map(lambda words: words * 32 // bits), st.just(128)))
    blocks = -(-k // block)
    activation = draw(st.sampled_from([None, *ACTIVATIONS, PRELU]))
    return {
        "bits": bits,
        "block": block,
        "k": k,
        "x": rng.standard_normal((m, k), dtype=np.float32),
        "numbers": numbers_of(rng, n, k, bits),
        "scales": (rng.random((n, blocks), dtype=np.float32) + 0.5) * rng.choice([-1, 1], (n, blocks)).astype("f4"),
        "zero_points": rng.integers(0, 2**bits, (n, blocks), dtype=np.uint8) if draw(st.booleans()) else None,
        "bias": rng.standard_normal(n, dtype=np.float32) if draw(st.booleans()) else None,
        "residual": rng.standard_normal((m, n), dtype=np.float32) if draw(st.booleans()) else None,
        "activation": activation,
        "slopes": rng.standard_normal(n, dtype=np.float32) if activation == PRELU else None,
    }


def values(case: Case) -> np.ndarray:
    """Returns the weights in float64."""
    places = np.arange(case["k"]) // case["block"]
    zeros = 2 ** (case["bits"] - 1) if case["zero_points"] is None else case["zero_points"].astype(float)[:, places]
    return (case["numbers"].astype(np.float64) - zeros) * case["scales"].astype(np.float64)[:, places]


def layer(case: Case, isa: str | None = None, threads: int = 1) -> kernels.BlockDense:
    packed = kernels.packed_numbers(case["numbers"], case["bits"])
    names = ("scales", "k", "bits", "block", "zero_points", "bias", "activation", "slopes")
    return kernels.BlockDense(packed, **{name: case[name] for name in names}, isa=isa, threads=threads)


def assert_right(y: np.ndarray, case: Case) -> None:
    """Checks sums of k products of which each has three more roundings, and the epilogue.

    With less than 8 bits, the sums are over numbers, and zero points are subtracted from them.
    """
    weight, x = values(case), case["x"].astype(np.float64)
    zeros = values(case | {"numbers": case["numbers"] * 0})
    sizes = np.abs(weight) if case["bits"] == 8 else np.abs(weight - zeros) + np.abs(zeros)
    want, magnitude = x @ weight.T, np.abs(x) @ sizes.T
    for name in ("bias", "residual"):
        if case[name] is not None:
            want, magnitude = want + case[name], magnitude + np.abs(case[name])
    allowed = gamma(case["k"] + 5) * magnitude
    if case["activation"] is not None:
        slopes = case["slopes"]
        want = prelu(want, slopes) if slopes is not None else ACTIVATIONS[case["activation"]](want)
        slope = MAX_SLOPE if slopes is None else np.maximum(MAX_SLOPE, np.abs(slopes))
        allowed = slope * (allowed + 8 * UNIT * (magnitude + 1))
    assert (np.abs(y - want) <= allowed).all()


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 3))
def test_agrees_with_float64(isa: str, case: Case, threads: int) -> None:
    y = layer(case, isa, threads)(case["x"], residual=case["residual"])
    assert_right(y, case)
    alone = layer(case, isa)(case["x"], residual=case["residual"])
    np.testing.assert_array_equal(y, alone)


@pytest.mark.parametrize("m", [1, 3, 9])
def test_rows_may_be_strided_and_the_output_may_be_the_residual(isa: str, m: int) -> None:
    rng = np.random.default_rng(0)
    case: Case = {
        "bits": 4,
        "block": 32,
        "k": 72,
        "zero_points": None,
        "bias": None,
        "activation": None,
        "slopes": None,
    }
    case |= {"numbers": numbers_of(rng, 19, 72, 4), "scales": rng.random((19, 3), dtype=np.float32) + 0.5}
    x, out = rng.standard_normal((m, 144), dtype=np.float32)[:, ::2], np.zeros((m, 40), np.float32)
    residual = rng.standard_normal((m, 19), dtype=np.float32)
    out[:, 7:26] = residual
    case |= {"x": x, "residual": residual}
    place = out[:, 7:26]
    assert layer(case, isa)(x, out=place, residual=place) is place
    assert_right(place, case)
    assert not out[:, :7].any()
    assert not out[:, 26:].any()


@pytest.mark.parametrize("m", [1, 4, 7])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("edge", ["start", "end"])
def test_reads_and_writes_nothing_beyond_its_arrays(isa: str, edge: Literal["start", "end"], bits: int, m: int) -> None:
    rng = np.random.default_rng(0)
    k, n, block = 45, 21, 32
    case: Case = {"bits": bits, "block": block, "k": k, "bias": None, "activation": None, "slopes": None}
    case |= {
        "numbers": numbers_of(rng, n, k, bits),
        "scales": next_to_forbidden_page(rng.random((n, 2), dtype=np.float32) + 0.5, edge),
        "zero_points": rng.integers(0, 2**bits, (n, 2), dtype=np.uint8),
        "x": next_to_forbidden_page(rng.standard_normal((m, k), dtype=np.float32), edge),
        "residual": None,
    }
    out = next_to_forbidden_page(np.zeros((m, n), np.float32), edge)
    layer(case, isa)(case["x"], out=out)
    assert_right(out, case)


def test_infinite_and_missing_numbers_stay_in_their_columns(isa: str) -> None:
    case: Case = {
        "bits": 4,
        "block": 32,
        "k": 64,
        "zero_points": None,
        "bias": None,
        "activation": None,
        "slopes": None,
    }
    scales = np.ones((3, 2), np.float32)
    scales[1, 1], scales[2, 0] = np.nan, np.inf
    case |= {"numbers": np.full((3, 64), 9, np.uint8), "scales": scales}
    for m in (1, 6):
        y = layer(case, isa)(np.ones((m, 64), np.float32))
        np.testing.assert_array_equal(y, np.broadcast_to(np.array([64, np.nan, np.inf], np.float32), (m, 3)))


@pytest.mark.parametrize("m", [1, 4, 9])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("x", [2e-35, 2e-37, 1e37, np.inf, -np.inf, np.nan])
def test_few_rows_answer_as_many_do(isa: str, x: float, bits: int, m: int) -> None:
    """Factors of the numbers are divided by powers of two, which must neither overflow nor become subnormal."""
    numbers = np.full((3, 64), 2 ** (bits - 1) + 1, np.uint8)  # weights of one scale
    case: Case = {"bits": bits, "block": 64, "k": 64, "numbers": numbers, "zero_points": None, "bias": None}
    case |= {"activation": None, "slopes": None, "scales": np.full((3, 1), 1e-3 if x > 1 else 1e3, np.float32)}
    rows = np.zeros((m, 64), np.float32)
    rows[:, 5] = x
    want = np.full((m, 3), np.float32(x) * case["scales"][0, 0])
    np.testing.assert_allclose(layer(case, isa)(rows), want, rtol=1e-5)


@pytest.mark.parametrize("m", [1, 9])
def test_an_infinite_scale_of_numbers_at_the_zero_point(isa: str, m: int) -> None:
    case: Case = {"bits": 4, "block": 32, "k": 32, "numbers": np.full((1, 32), 9, np.uint8), "zero_points": None}
    case |= {"bias": None, "activation": None, "slopes": None, "scales": np.full((1, 1), np.inf, np.float32)}
    case["numbers"][0, 3] = 8
    assert np.isnan(layer(case, isa)(np.ones((m, 32), np.float32))).all()


@pytest.mark.parametrize("m", [1, 9])
def test_a_block_may_be_longer_than_any_row(isa: str, m: int) -> None:
    numbers, scales = np.full((3, 16), 0x99, np.uint8), np.ones((3, 1), np.float32)
    one = kernels.BlockDense(numbers, scales, 32, 4, 2**63 - 1, isa=isa)
    np.testing.assert_array_equal(one(np.ones((m, 32), np.float32)), 32)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("k", [1, 7, 8, 33])
def test_packed_numbers(bits: int, k: int) -> None:
    numbers = numbers_of(np.random.default_rng(k), 3, k, bits)
    packed = kernels.packed_numbers(numbers, bits)
    assert packed.shape == (3, math.ceil(k * bits / 8))
    for row, found in zip(numbers, packed, strict=True):
        whole = int.from_bytes(found.tobytes(), "little")
        assert [(whole >> (bits * place)) % 2**bits for place in range(k)] == row.tolist()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"bits": 3}, ValueError, "bits must be 2, 4 or 8, got 3"),
        ({"k": 0}, ValueError, r"k must be from 1 to 2\^40, got 0"),
        ({"k": 2**62, "block": 2**62, "numbers": np.zeros((5, 0), np.uint8)}, ValueError, "k must be from 1"),
        ({"block": 2**63 - 1, "scales": np.ones((5, 0), np.float32)}, ValueError, "scales"),
        ({"block": 0}, ValueError, "block must be at least 1, got 0"),
        ({"block": 12, "scales": np.ones((5, 6), np.float32)}, ValueError, "block must be a multiple of 8, got 12"),
        ({"numbers": np.zeros((5, 31), np.uint8)}, ValueError, "numbers"),
        ({"numbers": np.zeros((5, 32), np.int8)}, TypeError, "numbers"),
        ({"scales": np.ones((5, 3), np.float32)}, ValueError, "scales"),
        ({"scales": np.ones((5, 2), np.float64)}, TypeError, "scales"),
        ({"zero_points": np.full((5, 2), 16, np.uint8)}, ValueError, "zero points must be at most 15"),
        ({"bias": np.zeros(4, np.float32)}, ValueError, "bias"),
        ({"activation": "prelu"}, ValueError, "slopes"),
        ({"threads": 0}, ValueError, "threads"),
    ],
    ids=str,
)
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"numbers": np.zeros((5, 32), np.uint8), "scales": np.ones((5, 2), np.float32), "k": 64} | changes
    with pytest.raises(error, match=message):
        kernels.BlockDense(**given)
