"""Kernels that are functions can be called and timed."""

from __future__ import annotations

import gc
import inspect
import pickle
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import _native
from kernels.timed import TimedFunction
from tests.kernels.memory import CANARY

X = np.random.default_rng(0).standard_normal((2, 6, 5, 24), np.float32)
ROW = X[0, 0, 0]
# The arguments of each function, without `out`.
CALLS: dict[str, tuple[TimedFunction[...], dict[str, Any]]] = {
    "add": (kernels.add, {"a": X, "b": X[::-1], "activation": "relu"}),
    "activation": (kernels.activation, {"x": X, "name": "gelu"}),
    "softmax": (kernels.softmax, {"x": X}),
    "layer_norm": (kernels.layer_norm, {"x": X, "gamma": ROW, "beta": ROW, "residual": X}),
    "rms_norm": (kernels.rms_norm, {"x": X, "gamma": ROW}),
    "max_pool2d": (kernels.max_pool2d, {"x": X, "kernel": 3, "stride": 2, "padding": 1}),
    "avg_pool2d": (kernels.avg_pool2d, {"x": X, "kernel": 2}),
    "global_avg_pool2d": (kernels.global_avg_pool2d, {"x": X}),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CALLS)
def test_timed_runs_write_the_answer(name: str, threads: int) -> None:
    function, arguments = CALLS[name]
    expected = function(**arguments)
    out = np.full_like(expected, CANARY)
    samples = function.time(3, 4, **arguments, out=out, threads=threads)
    assert len(samples) == 4
    assert all(0 < secs < 1 for secs in samples)
    np.testing.assert_array_equal(out, expected)


def test_it_runs_number_times_repeat_times() -> None:
    total = np.zeros((3, 8), np.float32)
    kernels.add.time(3, 4, total, np.ones_like(total), out=total)
    np.testing.assert_array_equal(total, 12)


@pytest.mark.parametrize("name", CALLS)
def test_a_call_keeps_its_arrays(name: str) -> None:
    """Also copies of inputs that are not contiguous, which nothing else refers to."""
    function, arguments = CALLS[name]
    expected = function(**arguments)

    def strided(value: Any) -> Any:
        return np.repeat(value, 2, axis=-1)[..., ::2] if isinstance(value, np.ndarray) else value

    out = np.empty_like(expected)
    function.time(2, 2, **{key: strided(value) for key, value in arguments.items()}, out=out)
    np.testing.assert_array_equal(out, expected)
    if name == "softmax":
        call = _native.row_operator("softmax", strided(X), None, None, None, 0.0, None, None, 1)
        gc.collect()
        np.testing.assert_array_equal(call.run(), expected)


@pytest.mark.parametrize(("number", "repeat"), [(0, 1), (1, 0), (-1, 1)])
def test_the_numbers_are_at_least_1(number: int, repeat: int) -> None:
    with pytest.raises(ValueError, match="number and repeat must be at least 1"):
        kernels.softmax.time(number, repeat, X)


def test_timing_checks_the_arguments() -> None:
    with pytest.raises(TypeError, match="x must be float32, got float64"):
        kernels.softmax.time(1, 1, X.astype(np.float64))
    with pytest.raises(ValueError, match="out must not overlap x"):
        kernels.max_pool2d.time(1, 1, X, 1, out=X)


def test_the_functions_are_functions() -> None:
    """They have documentation and a signature, and can be sent to another process."""
    assert str(inspect.signature(kernels.softmax)) == (
        "(x: 'np.ndarray', out: 'np.ndarray | None' = None, isa: 'str | None' = None, threads: 'int' = 1)"
        " -> 'np.ndarray'"
    )
    assert "over the last axis" in (kernels.softmax.__doc__ or "")
    assert pickle.loads(pickle.dumps(kernels.softmax)) is kernels.softmax  # noqa: S301
