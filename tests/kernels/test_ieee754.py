"""NaN and infinities in the inputs of every kernel: the outputs that they reach are those of float64 NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.activations import ACTIVATIONS
from compiler.workloads.reference import make_inputs, reference
from compiler.workloads.workload import ACTIVATIONS as EVERY_ACTIVATION
from compiler.workloads.workload import Workload
from tests.kernels.convolutions import layer as convolution

Array = np.ndarray
SPECIAL = (np.nan, np.inf, -np.inf)
SEEDS = st.integers(0, 999)
THREADS = st.integers(1, 2)
LARGEST = float(np.finfo(np.float32).max)

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of NaN and infinities


def spoiled(array: Array, seed: int, share: float = 0.02, values: tuple[float, ...] = SPECIAL) -> Array:
    """Returns a copy with some of the elements, at least one, replaced by values that are not finite."""
    rng = np.random.default_rng(seed)
    copy = array.copy()
    places = rng.choice(copy.size, max(1, int(share * copy.size)), replace=False)
    copy.reshape(-1)[places] = rng.choice(np.array(values, copy.dtype), len(places))
    return copy


def assert_same(y: Array, expected: Array, where: Array | bool = True, rtol: float = 1e-4) -> None:
    """NaN and infinities are equal; other elements are close, as the other tests check them exactly."""
    expected = np.asarray(expected, np.float64)
    finite = np.isfinite(expected)
    scale = float(np.abs(expected[finite]).max(initial=1.0))
    close = np.isclose(y, expected, rtol, rtol * scale, equal_nan=True)
    wrong = np.argwhere(~close & where)
    assert not wrong.size, f"{wrong[0]}: {y[tuple(wrong[0])]} instead of {expected[tuple(wrong[0])]}"


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("length", [1, 7, 16, 37])
def test_activations(isa: str, name: str, length: int) -> None:
    limits = [*SPECIAL, LARGEST, -LARGEST, LARGEST / 4, -LARGEST / 4, 0.0, -0.0, 1e-30, 88.8, -88.8, 104.0, -104.0]
    for start in range(len(limits)):
        x = np.resize(np.roll(np.array(limits, np.float32), start), length)
        expected = ACTIVATIONS[name](x.astype(np.float64))
        y = kernels.activation(x, name, isa=isa)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(
            kernels.add(x, x * 0 + 0, name, isa=isa)[np.isfinite(x)], expected[np.isfinite(x)], rtol=1e-6, atol=1e-6
        )


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, m=st.integers(1, 40), n=st.integers(1, 70), k=st.integers(1, 50), data=st.data())
def test_dense(isa: str, seed: int, m: int, n: int, k: int, data: st.DataObject) -> None:
    activation = data.draw(st.sampled_from([None, *EVERY_ACTIVATION]))
    epilogue = ("bias", "residual", *([activation] if activation else []))
    workload = Workload.dense(m, n, k, epilogue=epilogue)
    inputs = dict(make_inputs(workload, seed))
    for name in data.draw(st.sets(st.sampled_from(sorted(inputs)), min_size=1)):
        inputs[name] = spoiled(inputs[name], seed)
    threads = data.draw(THREADS)
    slopes = inputs.get("slopes")
    op = kernels.Dense(inputs["weight"], inputs["bias"], activation, isa, threads, _direct(isa, threads), slopes=slopes)
    assert_same(op(inputs["x"], residual=inputs["residual"]), reference(workload, inputs))


@st.composite
def convolutions(draw: st.DrawFn) -> Workload:
    kind = draw(st.sampled_from(["any", "grouped", "depthwise", "pointwise"]))
    c = draw(st.integers(1, 20))
    groups = {"depthwise": c, "grouped": 2}.get(kind, 1)
    c = 2 * c if kind == "grouped" else c
    o = c if kind == "depthwise" else groups * draw(st.integers(1, 20))
    size = 1 if kind == "pointwise" else draw(st.integers(2, 5))
    padding = draw(st.tuples(*[st.integers(0, size - 1)] * 4))
    stride = draw(st.integers(1, 2))
    h, w = draw(st.tuples(st.integers(size, 12), st.integers(size, 12)))
    activation = draw(st.sampled_from([None, *EVERY_ACTIVATION]))
    epilogue = ("bias", "residual", *([activation] if activation else []))
    n = draw(st.integers(1, 2))
    return Workload.conv2d(n, h, w, c, o, (size, size), (stride, stride), padding, groups=groups, epilogue=epilogue)


@settings(max_examples=80, deadline=None)
@given(workload=convolutions(), seed=SEEDS, threads=THREADS)
def test_convolutions_without_fast_algorithms(isa: str, workload: Workload, seed: int, threads: int) -> None:
    inputs = dict(make_inputs(workload, seed))
    inputs["x"] = spoiled(inputs["x"], seed, 0.01)
    inputs["residual"] = spoiled(inputs["residual"], seed + 1, 0.01)
    schedule = convolution(workload, inputs, isa, threads).schedule(*workload.dims[:3])
    if "algorithm" in schedule:
        schedule = {**schedule, "algorithm": "direct"}
    y = convolution(workload, inputs, isa, threads, schedule or None)(inputs["x"], residual=inputs["residual"])
    assert_same(y, reference(workload, inputs))


@pytest.mark.parametrize("name", ["winograd2", "winograd4"])
def test_winograd_confines_them_to_tiles(isa: str, name: str) -> None:
    """The outputs of a tile are NaN if its part of the image contains NaN or an infinity; others are correct."""
    if not kernels.register_tiles(isa):
        pytest.skip("the reference has no Winograd")
    m, size = int(name[-1]), 14
    workload = Workload.conv2d(1, size, size, 8, 20, (3, 3), padding=(1, 1, 1, 1))
    inputs = dict(make_inputs(workload))
    inputs["x"][0, 6, 7, 3] = np.inf
    schedule = {**convolution(workload, inputs, isa).schedule(1, size, size), "algorithm": name}
    y = convolution(workload, inputs, isa, schedule=schedule)(inputs["x"])
    tiles = [[begin <= place + 1 < begin + m + 2 for begin in range(0, size, m)] for place in (6, 7)]
    rows, columns = (np.repeat(hit, m)[:size] for hit in tiles)
    reached = np.outer(rows, columns)[None, :, :, None]
    expected = reference(workload, inputs)
    assert not np.isfinite(y[~np.isfinite(expected)]).any()
    assert_same(y, expected, where=~reached)


def _direct(isa: str, threads: int) -> dict[str, Any] | None:
    """A schedule without a fast algorithm; None if the kernel has no schedules."""
    tiles = kernels.register_tiles(isa)
    if not tiles:
        return None
    layer = kernels.Dense(np.zeros((1, 1), np.float32), isa=isa, threads=threads)
    return {**layer.schedule(1), "algorithm": "direct", "kc": 64}


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 9), n=st.integers(1, 80), seed=SEEDS, threads=THREADS, share=st.sampled_from([0, 0.02, 0.5, 1])
)
@pytest.mark.parametrize("values", [SPECIAL, (-np.inf,), (-np.inf, -1e9, -LARGEST, np.finfo(np.float32).tiny)])
def test_softmax(isa: str, values: tuple[float, ...], rows: int, n: int, seed: int, threads: int, share: float) -> None:
    x = spoiled(make_rows(rows, n, seed), seed, share, values)
    assert_same(kernels.softmax(x, isa=isa, threads=threads), softmax(x))


def softmax(x: Array) -> Array:
    wide = x.astype(np.float64)
    e = np.exp(wide - wide.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def make_rows(rows: int, n: int, seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, n), np.float32)


@settings(max_examples=80, deadline=None)
@given(
    lengths=st.tuples(st.integers(1, 3), st.integers(1, 20), st.integers(1, 40), st.integers(1, 20)),
    hidden=st.sampled_from([-np.inf, -1e9, -LARGEST, np.nan, np.inf]),
    seed=SEEDS,
    of_inputs=st.sampled_from(["", "q", "k", "v"]),
)
def test_attention(isa: str, lengths: tuple[int, ...], hidden: float, seed: int, of_inputs: str) -> None:
    heads, queries, keys, size = lengths
    rng = np.random.default_rng(seed)
    inputs = {
        name: rng.standard_normal((1, tokens, heads, size), np.float32)
        for name, tokens in (("q", queries), ("k", keys), ("v", keys))
    }
    if of_inputs:
        inputs[of_inputs] = spoiled(inputs[of_inputs], seed)
    mask = np.where(rng.random((queries, keys)) < 0.3, hidden, 0).astype(np.float32)
    mask[-1] = hidden
    y = kernels.Attention(heads, size, 1.0, isa=isa)(**inputs, mask=mask)
    weights = attention_weights(inputs, mask)
    assert_same(y, answer(weights, inputs))
    y = kernels.Attention(heads, size, 1.0, isa=isa, or_zero=True)(**inputs, mask=mask)
    assert_same(y, answer(np.where(np.isnan(weights), 0, weights), inputs))


def attention_weights(inputs: Mapping[str, Array], mask: Array) -> Array:
    q, k = (inputs[name].astype(np.float64).transpose(0, 2, 1, 3) for name in "qk")
    return softmax(
        (q @ k.swapaxes(-1, -2)).astype(np.float32) + mask
    )  # in float32, where a mask of -1e9 absorbs scores


def answer(weights: Array, inputs: Mapping[str, Array]) -> Array:
    # float32's exponential of less than -104 is 0, which counts where v is infinite.
    weights = np.where(weights < 1e-45, 0, weights)
    return (weights @ inputs["v"].astype(np.float64).transpose(0, 2, 1, 3)).transpose(0, 2, 1, 3)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 9), n=st.integers(2, 80), seed=SEEDS, threads=THREADS, with_residual=st.booleans())
def test_normalizations(isa: str, rows: int, n: int, seed: int, threads: int, with_residual: bool) -> None:
    x, residual = spoiled(make_rows(rows, n, seed), seed), make_rows(rows, n, seed + 1)
    gamma, beta = make_rows(2, n, seed + 2)
    wide = x.astype(np.float64)
    rms = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5) * gamma
    assert_same(kernels.rms_norm(x, gamma, 1e-5, isa=isa, threads=threads), rms)
    if with_residual:
        wide = wide + residual
    difference = wide - wide.mean(-1, keepdims=True)
    normal = difference / np.sqrt((difference**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    y = kernels.layer_norm(x, gamma, beta, 1e-5, residual if with_residual else None, isa=isa, threads=threads)
    assert_same(y, normal)


@settings(max_examples=60, deadline=None)
@given(
    c=st.integers(1, 70),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    seed=SEEDS,
    threads=THREADS,
    values=st.sampled_from([SPECIAL, (-np.inf,), (np.inf,)]),
    share=st.sampled_from([0.02, 0.5, 1]),
)
def test_pooling(
    isa: str, c: int, kernel: int, stride: int, seed: int, threads: int, values: tuple[float, ...], share: float
) -> None:
    x = spoiled(np.random.default_rng(seed).standard_normal((2, 7, 9, c), np.float32), seed, share, values)
    common: dict[str, Any] = {"isa": isa, "threads": threads}
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (kernel, kernel), (1, 2))
    windows = windows[:, ::stride, ::stride]
    assert_same(kernels.max_pool2d(x, (kernel, kernel), (stride, stride), **common), windows.max((-2, -1)))
    assert_same(kernels.avg_pool2d(x, (kernel, kernel), (stride, stride), **common), windows.mean((-2, -1)))
    assert_same(kernels.global_avg_pool2d(x, **common), x.astype(np.float64).mean((1, 2), keepdims=True))


def test_padding_does_not_count_for_a_maximum(isa: str) -> None:
    x = np.full((1, 4, 4, 19), -np.inf, np.float32)
    y = kernels.max_pool2d(x, (3, 3), (1, 1), (1, 1, 1, 1), isa=isa)
    np.testing.assert_array_equal(y, x)
