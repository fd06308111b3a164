"""``kernels.Attention`` against float64, with derived error bounds."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels

UNIT = float(np.finfo(np.float32).eps) / 2
EXP_UNITS = 8  # what the exponential may be off, in units of rounding

Array = np.ndarray


NARROW_ISAS = [isa for isa in kernels.available_isas() if "bfloat16" in kernels.available_dtypes(isa)]


class Shape(NamedTuple):
    batch: int
    heads: int
    queries: int
    keys: int
    head_dim: int


LENGTHS = st.one_of(st.sampled_from([1, 17, 64]), st.integers(1, 80))
SHAPES = st.builds(Shape, st.integers(1, 3), st.integers(1, 3), LENGTHS, LENGTHS, st.integers(1, 70))


@st.composite
def schedules(draw: st.DrawFn, isa: str, threads: int, dtype: str = "float32") -> dict[str, Any] | None:
    tiles = kernels.register_tiles(isa, dtype)
    if not tiles or draw(st.booleans()):
        return None
    scores, values = draw(st.sampled_from(tiles)), draw(st.sampled_from(tiles))
    return {
        "scores_mr": scores[0],
        "scores_nr": scores[1],
        "values_mr": values[0],
        "values_nr": values[1],
        "rows": draw(st.integers(1, 100)),
        "threads": draw(st.integers(1, threads)),
    }


def make_inputs(shape: Shape, seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    batch, heads, queries, keys, head_dim = shape
    sizes = ((batch, length, heads, head_dim) for length in (queries, keys, keys))
    q, k, v = (rng.standard_normal(size, np.float32) for size in sizes)
    return q, k, v


def heads_first(x: Array) -> Array:
    return x.astype(np.float64).transpose(0, 2, 1, 3)


def assert_right(
    answer: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    scale: float | None = None,
    weight_unit: float = 0.0,
) -> None:
    """Checks the output against derived bounds.

    A score has the error of a sum of head_dim products and of the addition of the mask. The weights of a row have its
    largest error twice, since they are divided by their sum. The exponentials and two sums over the keys add to it.
    ``weight_unit`` is the largest relative change of a weight that is rounded, or set to zero if it is subnormal.
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    q, k, v = heads_first(q), heads_first(k), heads_first(v)
    added = np.zeros(1) if mask is None else mask.astype(np.float64)
    scores = q @ k.swapaxes(-1, -2) * scale + added
    seen = np.isfinite(scores)
    peak = np.where(seen.any(-1, keepdims=True), scores.max(-1, keepdims=True), 0)
    e = np.exp(scores - peak)
    total = e.sum(-1, keepdims=True)
    weights = e / np.where(total == 0, 1, total)

    magnitude = np.abs(q) @ np.abs(k).swapaxes(-1, -2) * abs(scale) + np.where(np.isfinite(added), np.abs(added), 0)
    off = gamma(q.shape[-1] + 4) * magnitude + gamma(EXP_UNITS) * (1 + np.where(seen, peak - scores, 0))
    factor = 2 * off.max(-1, keepdims=True, where=seen, initial=0) + gamma(2 * k.shape[-2] + 2)
    allowed = np.expm1(factor) * (1 + weight_unit) * (weights @ np.abs(v))
    if weight_unit:
        allowed += weight_unit * (weights @ np.abs(v)) + np.finfo(np.float32).tiny * np.abs(v).sum(-2, keepdims=True)
    assert np.all(np.abs(heads_first(answer) - weights @ v) <= allowed)


def gamma(roundings: int) -> float:
    return roundings * UNIT / (1 - roundings * UNIT)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), shape=SHAPES, threads=st.integers(1, 4), seed=st.integers(0, 999))
def test_agrees_with_float64(isa: str, data: st.DataObject, shape: Shape, threads: int, seed: int) -> None:
    q, k, v = make_inputs(shape, seed)
    schedule = data.draw(schedules(isa, threads))
    op = kernels.Attention(shape.heads, shape.head_dim, isa=isa, threads=threads, schedule=schedule)
    assert_right(op(q, k, v), q, k, v)


@pytest.mark.parametrize("isa", NARROW_ISAS)
@settings(max_examples=100, deadline=None)
@given(data=st.data(), shape=SHAPES, threads=st.integers(1, 2), seed=st.integers(0, 999))
def test_products_of_bfloat16(isa: str, data: st.DataObject, shape: Shape, threads: int, seed: int) -> None:
    q, k, v = make_inputs(shape, seed)
    mask = None
    if data.draw(st.booleans()):
        mask = np.where(np.random.default_rng(seed).random((1, 1, 1, shape.keys)) < 0.2, -1e4, 0).astype(np.float32)
    schedule = data.draw(schedules(isa, threads, "bfloat16"))
    op = kernels.Attention(shape.heads, shape.head_dim, isa=isa, threads=threads, schedule=schedule, dtype="bfloat16")
    wide_q, wide_k, wide_v = (x.astype(ml_dtypes.bfloat16).astype(np.float32) for x in (q, k, v))
    assert_right(op(q, k, v, mask), wide_q, wide_k, wide_v, mask, weight_unit=2.0**-8)


def test_attention_has_no_integers(isa: str) -> None:
    with pytest.raises(ValueError, match="attention is float32 or bfloat16"):
        kernels.Attention(2, 8, isa=isa, dtype="int8")


@pytest.mark.parametrize(
    "shape", [Shape(1, 12, 128, 128, 64), Shape(2, 2, 197, 197, 64), Shape(1, 2, 384, 384, 32), Shape(1, 1, 1, 1000, 8)]
)
@pytest.mark.parametrize("threads", [1, 2])
def test_shapes_of_networks(isa: str, shape: Shape, threads: int) -> None:
    q, k, v = make_inputs(shape)
    assert_right(kernels.Attention(shape.heads, shape.head_dim, isa=isa, threads=threads)(q, k, v), q, k, v)


def test_every_register_tile(isa: str) -> None:
    for mr, nr in kernels.register_tiles(isa):
        shape = Shape(1, 1, 2 * mr - 1, 2 * nr - 1, nr + 1)
        schedule = {"scores_mr": mr, "scores_nr": nr, "values_mr": mr, "values_nr": nr, "rows": 64, "threads": 1}
        q, k, v = make_inputs(shape)
        assert_right(kernels.Attention(1, shape.head_dim, isa=isa, schedule=schedule)(q, k, v), q, k, v)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, data=st.data(), scale=st.sampled_from([None, 1.0, 0.3, -0.5, 0.0]))
def test_any_mask_that_broadcasts(isa: str, shape: Shape, data: st.DataObject, scale: float | None) -> None:
    full = (shape.batch, shape.heads, shape.queries, shape.keys)
    kept = data.draw(st.tuples(*(st.booleans() for _ in full)))
    size = tuple(extent if keep else 1 for extent, keep in zip(full, kept, strict=True))
    size = size[data.draw(st.integers(0, 2)) :]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    mask = 3 * rng.standard_normal(size, np.float32)
    mask[rng.random(size) < 0.3] = -np.inf
    q, k, v = make_inputs(shape)
    op = kernels.Attention(shape.heads, shape.head_dim, scale, isa=isa, threads=2, or_zero=True)
    fits = np.broadcast_shapes(size, full) == full
    assert fits
    assert_right(op(q, k, v, mask), q, k, v, np.broadcast_to(mask, full), scale)


def test_keys_behind_minus_infinity_do_not_exist(isa: str) -> None:
    q, k, v = make_inputs(Shape(2, 2, 9, 40, 16))
    mask = np.zeros(40, np.float32)
    mask[23:] = -np.inf
    v[:, 23:] = 1e30
    op = kernels.Attention(2, 16, isa=isa)
    assert_right(op(q, k, v, mask), q, k[:, :23], v[:, :23])
    everything = np.full(40, -np.inf, np.float32)
    assert np.isnan(op(q, k, v, everything)).all()
    np.testing.assert_array_equal(
        kernels.Attention(2, 16, isa=isa, or_zero=True)(q, k, v, everything), np.zeros_like(q)
    )


def test_large_scores_do_not_overflow(isa: str) -> None:
    q, k, v = make_inputs(Shape(1, 1, 5, 33, 8))
    answer = kernels.Attention(1, 8, scale=1e4, isa=isa)(q, k, v)
    best = (heads_first(q) @ heads_first(k).swapaxes(-1, -2)).argmax(-1)
    np.testing.assert_allclose(answer[0, :, 0], v[0, best[0, 0], 0], rtol=1e-6)


def test_a_query_that_is_nan_spoils_no_other(isa: str) -> None:
    q, k, v = make_inputs(Shape(1, 2, 20, 30, 16))
    op = kernels.Attention(2, 16, isa=isa)
    expected = op(q, k, v)
    q[0, 7, 1, 3] = np.nan
    answer = op(q, k, v)
    assert np.isnan(answer[0, 7, 1]).all()
    answer[0, 7, 1] = expected[0, 7, 1]
    np.testing.assert_array_equal(answer, expected)


def test_slices_of_one_projection(isa: str) -> None:
    """q, k and v in any order of axes, surrounded by NaN; the output surrounded by canaries."""
    shape = Shape(2, 3, 21, 21, 20)
    q, k, v = make_inputs(shape)
    expected = kernels.Attention(3, 20, isa=isa)(q, k, v)
    wall = np.full((2, 22, 3, 3, 21), np.nan, np.float32)  # batch, rows, which, heads, head_dim
    heads_before_rows = np.full((2, 3, 25, 33), np.nan, np.float32)[:, :, 2:23, 5:25].transpose(0, 2, 1, 3)
    backwards = np.full((4, 21, 3, 20), np.nan, np.float32)[::-2]
    columns = np.full((2, 21, 20, 3), np.nan, np.float32).transpose(0, 1, 3, 2)
    canary = np.float32(-12345)
    out = np.full(q.size + 64, canary)
    window = out[32:-32].reshape(q.shape)
    for place in (wall[:, :21, 0, :, :20], heads_before_rows, backwards, columns):
        for name, values in (("q", q), ("k", k), ("v", v)):
            place[...] = values
            arguments = {"q": q, "k": k, "v": v, name: place}
            assert kernels.Attention(3, 20, isa=isa)(**arguments, out=window) is window
            np.testing.assert_array_equal(window, expected)
            window[...] = canary
            assert np.all(out == canary)


def test_one_object_in_two_threads(isa: str) -> None:
    shapes = [Shape(1, 2, 30, 40, 24), Shape(2, 2, 50, 20, 24)]
    op = kernels.Attention(2, 24, isa=isa, threads=2)

    def run(shape: Shape) -> None:
        q, k, v = make_inputs(shape)
        for _ in range(30):
            assert_right(op(q, k, v), q, k, v)

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(run, shapes))


def test_samples_and_schedule(isa: str) -> None:
    op = kernels.Attention(2, 16, isa=isa, threads=2)
    q, k, v = make_inputs(Shape(1, 2, 8, 8, 16))
    samples = op.time(q, k, v, np.zeros(8, np.float32), number=2, repeat=3)
    assert len(samples) == 3
    assert min(samples) > 0
    schedule = op.schedule(1, 8, 8)
    again = kernels.Attention(2, 16, isa=isa, threads=2, schedule=schedule)
    assert again.schedule(1, 8, 8) == schedule
    np.testing.assert_array_equal(again(q, k, v), op(q, k, v))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"q": np.ones((1, 4, 2, 9), np.float32)},
            ValueError,
            r"q must have shape \(>=1, >=1, 2, 8\), got \(1, 4, 2, 9\)",
        ),
        ({"q": np.ones((4, 2, 8), np.float32)}, ValueError, "q must have shape"),
        ({"q": np.ones((0, 4, 2, 8), np.float32)}, ValueError, "q must have shape"),
        ({"q": np.ones((1, 4, 2, 8))}, TypeError, "q must be float32, got float64"),
        ({"q": None}, TypeError, "q must be a numpy array, got NoneType"),
        ({"k": np.ones((2, 5, 2, 8), np.float32)}, ValueError, r"k must have shape \(1, >=1, 2, 8\)"),
        ({"v": np.ones((1, 6, 2, 8), np.float32)}, ValueError, r"v must have shape \(1, 5, 2, 8\)"),
        ({"mask": np.ones(6, np.float32)}, ValueError, r"mask must broadcast to shape \(1, 2, 4, 5\), got \(6,\)"),
        ({"mask": np.ones(5, bool)}, TypeError, "mask must be float32, got bool"),
        ({"mask": [0.0] * 5}, TypeError, "mask must be a numpy array, got list"),
        ({"out": np.ones((1, 4, 16), np.float32)}, ValueError, r"out must have shape \(1, 4, 2, 8\)"),
        ({"out": np.ones((1, 4, 2, 16), np.float32)[..., ::2]}, ValueError, "out must be contiguous"),
    ],
)
def test_rejects_wrong_calls(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    q, k, v = make_inputs(Shape(1, 2, 4, 5, 8))
    with pytest.raises(error, match=message):
        kernels.Attention(2, 8)(**{"q": q, "k": k, "v": v, **changes})


def test_rejects_an_output_over_an_input() -> None:
    q, k, v = make_inputs(Shape(1, 2, 4, 4, 8))
    for name, taken in (("q", q), ("k", k), ("v", v)):
        with pytest.raises(ValueError, match=f"out must not overlap {name}"):
            kernels.Attention(2, 8)(q, k, v, out=taken)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"head_dim": 0}, "head_dim must be at least 1, got 0"),
        ({"threads": 0}, "threads must be between 1 and 1024"),
        ({"isa": "mmx"}, "mmx"),
        ({"schedule": {"rows": 4}}, "schedule lacks 'scores_mr'"),
    ],
)
def test_rejects_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.Attention(**{"heads": 2, "head_dim": 8, **arguments})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores_mr": 99}, "no 99x"),
        ({"values_nr": 5}, "x5 register tile"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"threads": 2}, "threads must be between 1 and 1, got 2"),
    ],
)
def test_rejects_illegal_schedules(isa: str, change: dict[str, int], message: str) -> None:
    if isa == "reference":
        pytest.skip("reference has nothing to schedule")
    schedule = {**kernels.Attention(1, 8, isa=isa).schedule(1, 8, 8), **change}
    with pytest.raises(ValueError, match=message):
        kernels.Attention(1, 8, isa=isa, schedule=schedule)
