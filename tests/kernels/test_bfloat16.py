"""``kernels.Dense`` and ``kernels.Conv2d`` in bfloat16: the differences from float32, on the same shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import Workload
from kernels import _native
from tests.kernels import test_conv2d as conv2d
from tests.kernels import test_dense as dense
from tests.kernels.memory import CANARY, next_to_forbidden_page

ISA = "avx512"
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)

needs_bfloat16 = pytest.mark.skipif(
    ISA not in kernels.available_isas() or "bfloat16" not in kernels.available_dtypes(ISA),
    reason="this CPU has no AVX512_BF16",
)

Inputs = Mapping[str, np.ndarray]


@st.composite
def dense_layers(draw: st.DrawFn, threads: int = 1) -> tuple[Workload, Any]:
    return in_bfloat16(draw(dense.workloads())), draw(dense.schedules(ISA, threads))


@st.composite
def convolutions(draw: st.DrawFn, threads: int = 1) -> tuple[Workload, Any]:
    workload = in_bfloat16(draw(conv2d.workloads()))
    schedule = draw(conv2d.schedules(workload, ISA, threads))
    return workload, schedule and {**schedule, "algorithm": "direct"}


def in_bfloat16(workload: Workload) -> Workload:
    return dataclasses.replace(workload, dtype="bfloat16")


def layer(workload: Workload, inputs: Inputs, threads: int = 1, schedule: Any = None) -> Any:
    return (dense if workload.op == "dense" else conv2d).layer(workload, dict(inputs), ISA, threads, schedule)


def assert_right(y: np.ndarray, workload: Workload, inputs: Inputs) -> None:
    """A float32 output holds the same sums, not rounded."""
    assert y.shape == workload.output_shape
    error = np.abs(y.astype(np.float64) - reference(workload, inputs))
    allowed = tolerance(workload if y.dtype == BFLOAT16 else dataclasses.replace(workload, dtype="float32"), inputs)
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


OPERATORS = pytest.mark.parametrize("operators", [dense_layers, convolutions], ids=["dense", "conv2d"])


@needs_bfloat16
@pytest.mark.parametrize("n", [32, 40])
def test_a_residual_of_a_series_of_tiles(n: int) -> None:
    """The residual of each tile is converted, not only that of the first tile."""
    workload = Workload.dense(60, n, 8, dtype="bfloat16", epilogue=("residual",))
    inputs = make_inputs(workload, seed=0)
    schedule = {**kernels.default_dense_schedule(60, n, 8, ISA), "mr": 4, "nr": 16, "prefetch": 0}
    out = np.empty(workload.output_shape, np.float32)
    y = layer(workload, inputs, 1, schedule)(inputs["x"], out, inputs["residual"])
    assert_right(y, workload, inputs)


@needs_bfloat16
@OPERATORS
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_agrees_with_float64(operators: Callable[..., Any], data: st.DataObject) -> None:
    threads = data.draw(st.integers(1, 4))
    workload, schedule = data.draw(operators(threads))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, threads, schedule)
    y = op(inputs["x"], residual=inputs.get("residual"))
    assert y.dtype == BFLOAT16
    assert_right(y, workload, inputs)
    out = np.full(workload.output_shape, np.nan, np.float32)
    assert op(inputs["x"], out, inputs.get("residual")) is out
    assert_right(out, workload, inputs)


@needs_bfloat16
def test_every_register_tile() -> None:
    tiles = kernels.register_tiles(ISA, "bfloat16")
    assert tiles == kernels.register_tiles(ISA)
    for mr, nr in tiles:
        for m, n, kc in ((mr, nr, 64), (2 * mr - 1, 2 * nr - 1, 24)):
            workload = Workload.dense(m, n, 61, dtype="bfloat16", epilogue=("bias", "relu"))
            inputs = make_inputs(workload)
            schedule = {**kernels.default_dense_schedule(m, n, 61, ISA), "mr": mr, "nr": nr, "kc": kc}
            assert_right(layer(workload, inputs, schedule=schedule)(inputs["x"]), workload, inputs)


@needs_bfloat16
@pytest.mark.parametrize("channels", [1, 3, 4, 17])
def test_first_layers(channels: int) -> None:
    """Odd numbers of channels need a copy of the image, with and without a border."""
    for padding in (0, 3):
        workload = Workload.conv2d(2, 31, 30, channels, 24, 7, 2, padding, dtype="bfloat16", epilogue=("bias", "relu"))
        inputs = make_inputs(workload)
        op = layer(workload, inputs, threads=2)
        assert_right(op(inputs["x"]), workload, inputs)
        assert op.schedule(2, 31, 30)["kc"] == workload.reduction


@needs_bfloat16
@OPERATORS
@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_reads_nothing_outside_its_inputs(
    operators: Callable[..., Any], edge: Literal["start", "end"], data: st.DataObject
) -> None:
    workload, schedule = data.draw(operators())
    inputs = {name: next_to_forbidden_page(value, edge) for name, value in make_inputs(workload).items()}
    out = next_to_forbidden_page(np.zeros(workload.output_shape, BFLOAT16), edge)
    op = layer(workload, inputs, 1, schedule)
    assert_right(op(inputs["x"], out, inputs.get("residual")), workload, inputs)


@needs_bfloat16
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(data: st.DataObject) -> None:
    """Rows with odd strides from odd columns on: no row is aligned to a word."""
    workload, schedule = data.draw(dense_layers(2))
    inputs = make_inputs(workload)
    m, n, k = workload.dims
    spread = np.full((m, k + 2 - k % 2 + 1), np.nan, BFLOAT16)
    spread[:, 1 : k + 1] = inputs["x"]
    wall = np.full((m + 2, n + 34 + n % 2 + 1), CANARY, BFLOAT16)
    out = wall[1:-1, 17 : 17 + n]
    assert layer(workload, inputs, 2, schedule)(spread[:, 1 : k + 1], out, inputs.get("residual")) is out
    assert_right(out, workload, inputs)
    out[:] = CANARY
    assert (wall == np.array(CANARY, BFLOAT16)).all()


@needs_bfloat16
@pytest.mark.parametrize("kc", [16, 4096])
def test_residual_may_be_the_output(kc: int) -> None:
    for workload in (
        Workload.dense(20, 70, 100, dtype="bfloat16", epilogue=("bias", "residual", "relu")),
        Workload.conv2d(2, 9, 8, 20, 70, 3, 1, 1, dtype="bfloat16", epilogue=("bias", "residual", "gelu")),
    ):
        inputs = make_inputs(workload)
        schedule = layer(workload, inputs).schedule(*workload.dims[: 1 if workload.op == "dense" else 3])
        out = inputs["residual"].copy()
        layer(workload, inputs, 2, {**schedule, "kc": kc, "threads": (1, 2)})(inputs["x"], out, out)
        assert_right(out, workload, inputs)


@needs_bfloat16
def test_rounds_to_nearest_even() -> None:
    """1 + i/256 is halfway between two bfloat16 numbers for odd i, so ties decide the direction."""
    values = 1 + np.arange(64, dtype=np.float32) / 256
    parts = np.stack([np.ones(64), values - 1], axis=1).astype(BFLOAT16)  # each exact
    y = kernels.Dense(parts)(np.ones((1, 2), BFLOAT16))
    np.testing.assert_array_equal(y[0], values.astype(BFLOAT16))


@needs_bfloat16
def test_not_a_number_passes_through() -> None:
    x = np.ones((3, 40), BFLOAT16)
    x[1, 7] = np.nan
    x[2, 7] = np.inf
    for activation in (None, "relu", "relu6"):
        y = kernels.Dense(np.ones((20, 40), BFLOAT16), activation=activation)(x)
        assert np.isfinite(y[0]).all()
        assert np.isnan(y[1]).all()
        assert (y[2] == (6 if activation == "relu6" else np.inf)).all()


@needs_bfloat16
def test_peak_is_a_rate() -> None:
    assert 0 < kernels.peak_gflops(ISA, dtype="bfloat16") < 1e6


def zeros(*shape: int, dtype: Any = BFLOAT16) -> np.ndarray:
    return np.zeros(shape, dtype)


@needs_bfloat16
@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda op: op(zeros(4, 16, dtype=np.float32)), "x must be bfloat16, got float32"),
        (lambda op: op(zeros(4, 16, dtype=np.float16)), "x must be bfloat16, got float16"),
        (lambda op: op(zeros(4, 16), zeros(4, 32, dtype=np.float64)), "out must be bfloat16 or float32, got float64"),
        (lambda op: op(zeros(4, 16), None, zeros(4, 32, dtype=np.float32)), "residual must be bfloat16, got float32"),
        (lambda _: kernels.Dense(zeros(32, 16), zeros(32)), "bias must be float32, got bfloat16"),
        (lambda _: kernels.Conv2d(zeros(4, 4, 3, 3))(zeros(1, 9, 9, 4, dtype=np.float32)), "x must be bfloat16"),
        (lambda _: kernels.Dense(zeros(3, 4, dtype=np.float32))(zeros(2, 4)), "x must be float32, got bfloat16"),
    ],
)
def test_other_types_are_rejected(attempt: Callable[[Any], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        attempt(kernels.Dense(zeros(32, 16)))


@needs_bfloat16
def test_winograd_is_for_float32() -> None:
    schedule = {**kernels.Conv2d(zeros(4, 4, 3, 3)).schedule(1, 9, 9), "algorithm": "winograd2"}
    with pytest.raises(ValueError, match="in float32 without dilation and groups"):
        kernels.Conv2d(zeros(4, 4, 3, 3), schedule=schedule)


@pytest.mark.parametrize("isa", [isa for isa in kernels.available_isas() if isa != ISA])
def test_other_isas_are_rejected(isa: str) -> None:
    assert "bfloat16" not in kernels.available_dtypes(isa)
    for attempt in (
        lambda: kernels.Dense(zeros(2, 2), isa=isa),
        lambda: kernels.Conv2d(zeros(2, 2, 1, 1), isa=isa),
        lambda: kernels.Conv2d(zeros(2, 2, 3, 3), isa=isa),
        lambda: kernels.register_tiles(isa, "bfloat16"),
        lambda: kernels.default_dense_schedule(4, 4, 4, isa, dtype="bfloat16"),
        lambda: kernels.peak_gflops(isa, dtype="bfloat16"),
    ):
        with pytest.raises(ValueError, match="bfloat16 needs isa avx512"):
            attempt()


def test_cpus_without_avx512_bf16_are_rejected() -> None:
    with pytest.raises(ValueError, match="this CPU has no AVX512_BF16: bfloat16 needs it"):
        _native.check_dtype("bfloat16", ISA, has_avx512_bf16=False)
    _native.check_dtype("float32", ISA, has_avx512_bf16=False)
    _native.check_dtype("bfloat16", ISA, has_avx512_bf16=True)
