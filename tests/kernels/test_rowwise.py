"""Sums, activations, softmax and layer normalization against float64, with derived error bounds."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.activations import ACTIVATIONS
from kernels import _native
from tests.kernels.memory import CANARY, next_to_forbidden_page, unaligned

UNIT = float(np.finfo(np.float32).eps) / 2
UNITS_OF_ACTIVATIONS = 16  # what one may be off, in units of max(1, |x|)
UNITS_OF_EXP = 8
SLOPE = 1.5  # no activation is steeper

Array = np.ndarray
Shape = tuple[int, ...]


def gamma_of(roundings: int) -> float:
    return roundings * UNIT / (1 - roundings * UNIT)


# Around vectors and the unrolled passes over them, and sometimes long enough for threads.
LENGTHS = st.one_of(st.sampled_from([1, 7, 8, 15, 16, 17, 31, 64, 65, 768]), st.integers(1, 300))
SHAPES = st.one_of(
    st.tuples(LENGTHS),
    st.tuples(st.integers(1, 9), LENGTHS),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), LENGTHS),
    st.tuples(st.integers(50, 90), st.integers(500, 700)),
)
SEEDS = st.integers(0, 999)
THREADS = st.integers(1, 3)
NAMES = st.sampled_from([None, *ACTIVATIONS])


def draw_array(shape: Shape, seed: int = 0) -> Array:
    return 3 * np.random.default_rng(seed).standard_normal(shape, np.float32)


def assert_sum(y: Array, a: Array, b: Array | None, name: str | None) -> None:
    total = a.astype(np.float64) + (0 if b is None else b)
    expected = total if name is None else ACTIVATIONS[name](total)
    of_sum = 0 if b is None else UNIT * np.abs(total)
    of_activation = 0 if name is None else UNITS_OF_ACTIVATIONS * UNIT * np.maximum(1, np.abs(total))
    assert np.all(np.abs(y - expected) <= SLOPE * of_sum + of_activation)


def assert_softmax(y: Array, x: Array) -> None:
    """An exponential has an error of some units and that of its argument; the sum and the division add theirs."""
    wide = x.astype(np.float64)
    below = wide - wide.max(-1, keepdims=True)
    e = np.exp(below)
    expected = e / e.sum(-1, keepdims=True)
    off = gamma_of(UNITS_OF_EXP) * (1 - below)
    allowed = np.expm1(off + off.max(-1, keepdims=True) + gamma_of(x.shape[-1] + 2)) * expected
    assert np.all(np.abs(y - expected) <= allowed + np.finfo(np.float32).tiny)


def assert_layer_norm(y: Array, x: Array, gamma: Array, beta: Array, eps: float, residual: Array | None = None) -> None:
    """Checks the output against derived bounds.

    The mean has the error of a sum of n terms, a difference from it that error and one rounding. The variance has the
    effect of these errors on the squares, and the error of a sum. A root halves a relative error.
    """
    v = x.astype(np.float64) + (0 if residual is None else residual)
    n = v.shape[-1]
    difference = v - v.mean(-1, keepdims=True)
    variance = (difference**2).mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(variance + eps)
    normal = difference * inverse

    off = gamma_of(n + 3) * np.abs(v).mean(-1, keepdims=True) + gamma_of(3) * np.abs(v)
    of_squares = (2 * np.abs(difference) * off + off**2).mean(-1, keepdims=True) + gamma_of(n + 3) * variance
    share = of_squares * inverse**2
    assert (share < 0.5).all()
    of_inverse = 1 / np.sqrt(1 - share) - 1 + gamma_of(4)
    of_normal = off * inverse * (1 + of_inverse) + np.abs(normal) * of_inverse
    allowed = np.abs(gamma) * of_normal + gamma_of(3) * (np.abs(gamma * normal) + np.abs(beta))
    assert np.all(np.abs(y - (gamma * normal + beta)) <= 1.01 * allowed)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, name=NAMES, threads=THREADS, seed=SEEDS)
def test_add(isa: str, shape: Shape, name: str | None, threads: int, seed: int) -> None:
    a, b = draw_array(shape, seed), draw_array(shape, seed + 1)
    assert_sum(kernels.add(a, b, name, isa=isa, threads=threads), a, b, name)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, name=NAMES, threads=THREADS, seed=SEEDS)
def test_activation(isa: str, shape: Shape, name: str | None, threads: int, seed: int) -> None:
    x = draw_array(shape, seed)
    assert_sum(kernels.activation(x, name or "none", isa=isa, threads=threads), x, None, name)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, threads=THREADS, seed=SEEDS)
def test_softmax(isa: str, shape: Shape, threads: int, seed: int) -> None:
    x = draw_array(shape, seed)
    assert_softmax(kernels.softmax(x, isa=isa, threads=threads), x)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPES, with_residual=st.booleans(), offset=st.sampled_from([0, 5]), threads=THREADS, seed=SEEDS)
def test_layer_norm(isa: str, shape: Shape, with_residual: bool, offset: int, threads: int, seed: int) -> None:
    x, gamma, beta = draw_array(shape, seed) + np.float32(offset), draw_array(shape[-1:]), draw_array(shape[-1:], 1)
    residual = draw_array(shape, seed + 1) if with_residual else None
    y = kernels.layer_norm(x, gamma, beta, 1e-5, residual, isa=isa, threads=threads)
    assert_layer_norm(y, x, gamma, beta, 1e-5, residual)


def test_layer_norm_of_a_large_mean(isa: str) -> None:
    """Values for which E[v²] - E[v]² has no correct digit."""
    x = draw_array((4, 768)) + np.float32(1e4)
    ones, zeros = np.ones(768, np.float32), np.zeros(768, np.float32)
    y = kernels.layer_norm(x, ones, zeros, 1e-12, isa=isa)
    wide = x.astype(np.float64)
    expected = (wide - wide.mean(-1, keepdims=True)) / wide.std(-1, keepdims=True)
    # A mean is off by some units of 1e4, of which a difference is a part in 1e4 / 3.
    np.testing.assert_allclose(y, expected, rtol=0, atol=768 * UNIT * 1e4 / 3)
    assert_layer_norm(kernels.layer_norm(x[:1] * 0, ones, ones, isa=isa), x[:1] * 0, ones, ones, 1e-5)


def test_softmax_at_extreme_arguments(isa: str) -> None:
    x = np.array([[1e30, 1e30, -1e30], [-np.inf, 0, 0], [-3e38, -3e38, -3e38]], np.float32)
    half = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(kernels.softmax(x, isa=isa), half, rtol=1e-6)
    assert np.isnan(kernels.softmax(np.full((2, 20), -np.inf, np.float32), isa=isa)).all()


def test_nan_stays_in_its_row(isa: str) -> None:
    x = draw_array((5, 70))
    x[3, 66] = np.nan
    ones = np.ones(70, np.float32)
    for y in (kernels.softmax(x, isa=isa), kernels.layer_norm(x, ones, ones, isa=isa)):
        np.testing.assert_array_equal(np.isnan(y).all(-1), [False, False, False, True, False])
        assert not np.isnan(y[[0, 1, 2, 4]]).any()
    for name in ACTIVATIONS:
        np.testing.assert_array_equal(np.isnan(kernels.activation(x, name, isa=isa)), np.isnan(x))
        np.testing.assert_array_equal(np.isnan(kernels.add(x, x, name, isa=isa)), np.isnan(x))


def calls(isa: str, shape: Shape, threads: int = 1) -> list[tuple[list[Array], Callable[..., Array]]]:
    """Every operator: inputs with the shape of the output, and a function of them and ``out``."""
    a, b = draw_array(shape), draw_array(shape, 1)
    gamma, beta = draw_array(shape[-1:], 2), draw_array(shape[-1:], 3)
    common: dict[str, Any] = {"isa": isa, "threads": threads}

    def layer_norm(x: Array, residual: Array | None = None, out: Array | None = None) -> Array:
        return kernels.layer_norm(x, gamma, beta, residual=residual, out=out, **common)

    return [
        ([a, b], lambda a, b, out=None: kernels.add(a, b, out=out, **common)),
        ([a, b], lambda a, b, out=None: kernels.add(a, b, "gelu", out=out, **common)),
        ([a], lambda x, out=None: kernels.activation(x, "relu6", out=out, **common)),
        ([a], lambda x, out=None: kernels.activation(x, "tanh", out=out, **common)),
        ([a], lambda x, out=None: kernels.softmax(x, out=out, **common)),
        ([a], lambda x, out=None: layer_norm(x, out=out)),
        ([a, b], layer_norm),
    ]


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, threads=THREADS)
def test_the_output_may_be_an_input(isa: str, shape: Shape, threads: int) -> None:
    for inputs, run in calls(isa, shape, threads):
        expected = run(*inputs)
        for i in range(len(inputs)):
            copies = [value.copy() for value in inputs]
            assert run(*copies, out=copies[i]) is copies[i]
            np.testing.assert_array_equal(copies[i], expected)


def test_an_array_with_itself(isa: str) -> None:
    x = draw_array((5, 33))
    expected = kernels.add(x, x.copy(), isa=isa)
    np.testing.assert_array_equal(kernels.add(x, x, out=x, isa=isa), expected)


@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=15, deadline=None)
@given(shape=SHAPES)
def test_touches_nothing_outside_its_arrays(isa: str, edge: Literal["start", "end"], shape: Shape) -> None:
    """Inputs and output are adjacent to a page without access rights: one byte too far ends the process."""
    for inputs, run in calls(isa, shape):
        out = next_to_forbidden_page(np.zeros(shape, np.float32), edge)
        run(*(next_to_forbidden_page(value, edge) for value in inputs), out=out)
        np.testing.assert_array_equal(out, run(*inputs))
    gamma, beta = (next_to_forbidden_page(draw_array(shape[-1:], seed), edge) for seed in (2, 3))
    x = draw_array(shape)
    assert_layer_norm(kernels.layer_norm(x, gamma, beta, isa=isa), x, gamma, beta, 1e-5)


@pytest.mark.parametrize("shape", [(1,), (3, 21), (2, 1001)])
def test_writes_nothing_but_the_output(isa: str, shape: Shape) -> None:
    size = int(np.prod(shape))
    for inputs, run in calls(isa, shape):
        wall = np.full(size + 128, CANARY)
        run(*inputs, out=wall[64:-64].reshape(shape))
        assert (wall[:64] == CANARY).all()
        assert (wall[64:-64] != CANARY).all()
        assert (wall[-64:] == CANARY).all()


STRIDED = {
    "transposed": lambda a: a.T.copy().T,
    "columns of more": lambda a: np.concatenate([a, a], axis=1)[:, : a.shape[1]],
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "unaligned": unaligned,
}


@pytest.mark.parametrize("strided", STRIDED.values(), ids=STRIDED.keys())
def test_any_strides_of_the_inputs(isa: str, strided: Any) -> None:
    for inputs, run in calls(isa, (6, 35)):
        np.testing.assert_array_equal(run(*map(strided, inputs)), run(*inputs))


def test_two_callers_at_once(isa: str) -> None:
    inputs, run = calls(isa, (100, 768), threads=2)[-1]
    expected = run(*inputs)
    with ThreadPoolExecutor(2) as executor:
        for y in executor.map(lambda _: run(*inputs), range(20)):
            np.testing.assert_array_equal(y, expected)


X, ROW = np.zeros((3, 8), np.float32), np.zeros(8, np.float32)
REJECTED: dict[str, tuple[Callable[[], Array], str]] = {
    "empty": (lambda: kernels.softmax(X[:0]), r"x must have shape \(>=1, >=1\), got \(0, 8\)"),
    "no axis": (lambda: kernels.softmax(np.zeros((), np.float32)), r"x must have at least one axis, got shape \(\)"),
    "b": (lambda: kernels.add(X, ROW), r"b must have shape \(3, 8\), got \(8,\)"),
    "gamma": (lambda: kernels.layer_norm(X, ROW[:7], ROW), r"gamma must have shape \(8,\), got \(7,\)"),
    "beta": (lambda: kernels.layer_norm(X, ROW, X), r"beta must have shape \(8,\), got \(3, 8\)"),
    "residual": (lambda: kernels.layer_norm(X, ROW, ROW, residual=ROW), r"residual must have shape \(3, 8\)"),
    "eps": (lambda: kernels.layer_norm(X, ROW, ROW, -1.0), r"eps must be finite and not negative, got -1\.0"),
    "nan eps": (lambda: kernels.layer_norm(X, ROW, ROW, np.nan), "eps must be finite and not negative, got nan"),
    "activation": (lambda: kernels.activation(X, "swash"), "unknown activation 'swash'; choose from: none, "),
    "prelu": (lambda: kernels.activation(X, "prelu"), "activation prelu needs slopes"),
    "out": (lambda: kernels.softmax(X, np.zeros((8, 3), np.float32)), r"out must have shape \(3, 8\), got \(8, 3\)"),
    "sliced out": (lambda: kernels.softmax(X, np.zeros((3, 16), np.float32)[:, ::2]), "out must be contiguous"),
    "isa": (lambda: kernels.add(X, X, isa="sse9"), "unknown isa 'sse9'"),
    "threads": (lambda: kernels.add(X, X, threads=0), "threads must be between 1 and 1024, got 0"),
}


@pytest.mark.parametrize(("call", "message"), REJECTED.values(), ids=REJECTED.keys())
def test_bad_arguments_are_rejected(call: Callable[[], Array], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def row_operator(name: str, residual: Array | None = None, beta: Array | None = None) -> None:
    _native.row_operator(name, X, residual, None, beta, 0.0, None, None, 1)


def test_inputs_that_an_operator_lacks_are_rejected() -> None:
    with pytest.raises(ValueError, match="softmax has no residual"):
        row_operator("softmax", residual=X)
    with pytest.raises(ValueError, match="softmax has no beta"):
        row_operator("softmax", beta=ROW)
    with pytest.raises(TypeError, match="gamma must be a numpy array, got NoneType"):
        row_operator("layer_norm", beta=ROW)
    with pytest.raises(ValueError, match=r"unknown row-wise operator 'hardmax'; choose from: layer_norm, .*softmax"):
        row_operator("hardmax")


def test_overlaps_are_rejected() -> None:
    memory = np.zeros(40, np.float32)
    first, second = memory[:24].reshape(3, 8), memory[8:32].reshape(3, 8)
    for name, call in (
        ("a", lambda: kernels.add(first, X, out=second)),
        ("b", lambda: kernels.add(X, first, out=second)),
        ("x", lambda: kernels.activation(first, "relu", second)),
        ("x", lambda: kernels.softmax(first, second)),
        ("x", lambda: kernels.layer_norm(first, ROW, ROW, out=second)),
        ("residual", lambda: kernels.layer_norm(X, ROW, ROW, residual=first, out=second)),
    ):
        with pytest.raises(ValueError, match=f"out must be {name} itself or not overlap it"):
            call()
    for name, weights in (("gamma", (memory[:8], ROW)), ("beta", (ROW, memory[:8]))):
        with pytest.raises(ValueError, match=f"out must not overlap {name}"):
            kernels.layer_norm(X, *weights, out=first)


def test_other_types_are_rejected() -> None:
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        kernels.softmax(X.astype(np.float64))
    with pytest.raises(TypeError, match="b must be a numpy array, got float"):
        kernels.add(X, 1.0)  # type: ignore[arg-type]


def test_arrays_that_pickle_made() -> None:
    """Their dtype equals NumPy's float32 without being the same object."""
    x = pickle.loads(pickle.dumps(draw_array((3, 8))))  # noqa: S301
    np.testing.assert_array_equal(kernels.softmax(x, out=x.copy()), kernels.softmax(draw_array((3, 8))))
