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
from tests.kernels import test_conv2d as conv2d
from tests.kernels import test_dense as dense
from tests.kernels.memory import CANARY, next_to_forbidden_page

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
ISAS = [isa for isa in kernels.available_isas() if "bfloat16" in kernels.available_dtypes(isa)]
by_isa = pytest.mark.parametrize("isa", ISAS)

Inputs = Mapping[str, np.ndarray]


@st.composite
def dense_layers(draw: st.DrawFn, isa: str, threads: int = 1) -> tuple[Workload, Any]:
    return in_bfloat16(draw(dense.workloads())), draw(dense.schedules(isa, threads, "bfloat16"))


@st.composite
def convolutions(draw: st.DrawFn, isa: str, threads: int = 1) -> tuple[Workload, Any]:
    workload = in_bfloat16(draw(conv2d.workloads()))
    return workload, draw(conv2d.schedules(workload, isa, threads))


def in_bfloat16(workload: Workload) -> Workload:
    return dataclasses.replace(workload, dtype="bfloat16")


def layer(workload: Workload, inputs: Inputs, isa: str, threads: int = 1, schedule: Any = None) -> Any:
    return (dense if workload.op == "dense" else conv2d).layer(workload, dict(inputs), isa, threads, schedule)


def assert_right(y: np.ndarray, workload: Workload, inputs: Inputs, schedule: Any = None) -> None:
    """A float32 output holds the same sums, not rounded."""
    assert y.shape == workload.output_shape
    want = reference(workload, inputs)
    error = np.abs(y.astype(np.float64) - want)
    allowed = tolerance(workload, inputs, (schedule or {}).get("algorithm", "direct"))
    if y.dtype != BFLOAT16:  # the last rounding is 2⁻⁸ of the output and of its error
        allowed = (allowed - 2.0**-8 * np.abs(want)) / (1 + 2.0**-8) * (1 + 1e-9)
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


OPERATORS = pytest.mark.parametrize("operators", [dense_layers, convolutions], ids=["dense", "conv2d"])


@by_isa
@pytest.mark.parametrize("n", [32, 40])
def test_a_residual_of_a_series_of_tiles(isa: str, n: int) -> None:
    """The residual of each tile is converted, not only that of the first tile."""
    workload = Workload.dense(60, n, 8, dtype="bfloat16", epilogue=("residual",))
    inputs = make_inputs(workload, seed=0)
    schedule = {**kernels.default_dense_schedule(60, n, 8, isa), "mr": 4, "nr": 16, "prefetch": 0}
    out = np.empty(workload.output_shape, np.float32)
    y = layer(workload, inputs, isa, 1, schedule)(inputs["x"], out, inputs["residual"])
    assert_right(y, workload, inputs)


@by_isa
@OPERATORS
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, operators: Callable[..., Any], data: st.DataObject) -> None:
    threads = data.draw(st.integers(1, 4))
    workload, schedule = data.draw(operators(isa, threads))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, schedule)
    y = op(inputs["x"], residual=inputs.get("residual"))
    assert y.dtype == BFLOAT16
    assert_right(y, workload, inputs, schedule)
    out = np.full(workload.output_shape, np.nan, np.float32)
    assert op(inputs["x"], out, inputs.get("residual")) is out
    assert_right(out, workload, inputs, schedule)


@by_isa
def test_every_register_tile(isa: str) -> None:
    tiles = kernels.register_tiles(isa, "bfloat16")
    assert tiles == kernels.register_tiles(isa) or not kernels.multiplies_bfloat16(isa)
    for mr, nr in tiles:
        for m, n, kc in ((mr, nr, 64), (2 * mr - 1, 2 * nr - 1, 24)):
            workload = Workload.dense(m, n, 61, dtype="bfloat16", epilogue=("bias", "relu"))
            inputs = make_inputs(workload)
            schedule = {**kernels.default_dense_schedule(m, n, 61, isa), "mr": mr, "nr": nr, "kc": kc}
            assert_right(layer(workload, inputs, isa, schedule=schedule)(inputs["x"]), workload, inputs)


@by_isa
@pytest.mark.parametrize("channels", [1, 3, 4, 17])
def test_first_layers(isa: str, channels: int) -> None:
    """Odd numbers of channels need a copy of the image, with and without a border."""
    for padding in (0, 3):
        workload = Workload.conv2d(2, 31, 30, channels, 24, 7, 2, padding, dtype="bfloat16", epilogue=("bias", "relu"))
        inputs = make_inputs(workload)
        op = layer(workload, inputs, isa, threads=2)
        assert_right(op(inputs["x"]), workload, inputs)
        assert op.schedule(2, 31, 30)["kc"] == workload.reduction


@by_isa
@OPERATORS
@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_reads_nothing_outside_its_inputs(
    isa: str, operators: Callable[..., Any], edge: Literal["start", "end"], data: st.DataObject
) -> None:
    workload, schedule = data.draw(operators(isa))
    inputs = {name: next_to_forbidden_page(value, edge) for name, value in make_inputs(workload).items()}
    out = next_to_forbidden_page(np.zeros(workload.output_shape, BFLOAT16), edge)
    op = layer(workload, inputs, isa, 1, schedule)
    assert_right(op(inputs["x"], out, inputs.get("residual")), workload, inputs, schedule)


@by_isa
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(isa: str, data: st.DataObject) -> None:
    """Rows with odd strides from odd columns on: no row is aligned to a word."""
    workload, schedule = data.draw(dense_layers(isa, 2))
    inputs = make_inputs(workload)
    m, n, k = workload.dims
    spread = np.full((m, k + 2 - k % 2 + 1), np.nan, BFLOAT16)
    spread[:, 1 : k + 1] = inputs["x"]
    wall = np.full((m + 2, n + 34 + n % 2 + 1), CANARY, BFLOAT16)
    out = wall[1:-1, 17 : 17 + n]
    assert layer(workload, inputs, isa, 2, schedule)(spread[:, 1 : k + 1], out, inputs.get("residual")) is out
    assert_right(out, workload, inputs)
    out[:] = CANARY
    assert (wall == np.array(CANARY, BFLOAT16)).all()


@by_isa
@pytest.mark.parametrize("kc", [16, 4096])
def test_residual_may_be_the_output(isa: str, kc: int) -> None:
    for workload in (
        Workload.dense(20, 70, 100, dtype="bfloat16", epilogue=("bias", "residual", "relu")),
        Workload.conv2d(2, 9, 8, 20, 70, 3, 1, 1, dtype="bfloat16", epilogue=("bias", "residual", "gelu")),
    ):
        inputs = make_inputs(workload)
        schedule = layer(workload, inputs, isa).schedule(*workload.dims[: 1 if workload.op == "dense" else 3])
        out = inputs["residual"].copy()
        layer(workload, inputs, isa, 2, {**schedule, "kc": kc, "threads": (1, 2)})(inputs["x"], out, out)
        assert_right(out, workload, inputs)


@by_isa
def test_rounds_to_nearest_even(isa: str) -> None:
    """1 + i/256 is halfway between two bfloat16 numbers for odd i, so ties decide the direction."""
    values = 1 + np.arange(64, dtype=np.float32) / 256
    parts = np.stack([np.ones(64), values - 1], axis=1).astype(BFLOAT16)  # each exact
    y = kernels.Dense(parts, isa=isa)(np.ones((1, 2), BFLOAT16))
    np.testing.assert_array_equal(y[0], values.astype(BFLOAT16))


@by_isa
def test_not_a_number_passes_through(isa: str) -> None:
    x = np.ones((3, 40), BFLOAT16)
    x[1, 7] = np.nan
    x[2, 7] = np.inf
    for activation in (None, "relu", "relu6"):
        y = kernels.Dense(np.ones((20, 40), BFLOAT16), activation=activation, isa=isa)(x)
        assert np.isfinite(y[0]).all()
        assert np.isnan(y[1]).all()
        assert (y[2] == (6 if activation == "relu6" else np.inf)).all()


@by_isa
def test_peak_is_a_rate(isa: str) -> None:
    assert 0 < kernels.peak_gflops(isa, dtype="bfloat16") < 1e6


@by_isa
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_input_of_float32_is_rounded(isa: str, data: st.DataObject) -> None:
    """As a layer of bfloat16 between tensors of float32 computes: the same sums as of the rounded input."""
    workload, schedule = data.draw(st.one_of(dense_layers(isa, 2), convolutions(isa, 2)))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    wide = next_to_forbidden_page(inputs["x"].astype(np.float32), data.draw(st.sampled_from(["start", "end"])))
    residual = inputs.get("residual")
    outs = [np.empty(workload.output_shape, np.float32) for _ in range(2)]
    op = layer(workload, inputs, isa, 2, schedule)
    op(inputs["x"], outs[0], residual)
    op(wide, outs[1], None if residual is None else residual.astype(np.float32))
    np.testing.assert_array_equal(outs[0], outs[1])


@by_isa
def test_an_input_of_float32_is_rounded_to_nearest_even(isa: str) -> None:
    x = np.concatenate([1 + np.arange(64) / 256, [-3.3, 1e-30, 65504.1, 3e38]]).astype(np.float32)
    y = kernels.Dense(np.eye(len(x), dtype=np.float32).astype(BFLOAT16), isa=isa)(x[None])
    np.testing.assert_array_equal(y[0], x.astype(BFLOAT16))


def zeros(*shape: int, dtype: Any = BFLOAT16) -> np.ndarray:
    return np.zeros(shape, dtype)


@pytest.mark.skipif(not ISAS, reason="this CPU has no AVX2")
@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda op: op(zeros(4, 16, dtype=np.float16)), "x must be bfloat16 or float32, got float16"),
        (lambda op: op(zeros(4, 16), zeros(4, 32, dtype=np.float64)), "out must be bfloat16 or float32, got float64"),
        (
            lambda op: op(zeros(4, 16), None, zeros(4, 32, dtype=np.int8)),
            "residual must be bfloat16 or float32, got int8",
        ),
        (lambda _: kernels.Dense(zeros(32, 16), zeros(32)), "bias must be float32, got bfloat16"),
        (
            lambda _: kernels.Conv2d(zeros(4, 4, 3, 3))(zeros(1, 9, 9, 4, dtype=np.int8)),
            "x must be bfloat16 or float32",
        ),
        (lambda _: kernels.Dense(zeros(3, 4, dtype=np.float32))(zeros(2, 4)), "x must be float32, got bfloat16"),
    ],
)
def test_other_types_are_rejected(attempt: Callable[[Any], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        attempt(kernels.Dense(zeros(32, 16)))


@by_isa
@pytest.mark.parametrize(("algorithm", "channels"), [("winograd4", 4), ("winograd2", 3)])
def test_other_winograds_are_for_float32(isa: str, algorithm: str, channels: int) -> None:
    weight = zeros(4, channels, 3, 3)
    schedule = {**kernels.Conv2d(weight, isa=isa).schedule(1, 9, 9), "algorithm": algorithm}
    with pytest.raises(ValueError, match="and for bfloat16 with an even number of channels"):
        kernels.Conv2d(weight, isa=isa, schedule=schedule)


@by_isa
def test_winograd_needs_a_schedule(isa: str) -> None:
    """The default rounds the factors and nothing else. Compiled models may select the algorithm."""
    assert kernels.Conv2d(zeros(64, 64, 3, 3), padding=1, isa=isa).schedule(1, 14, 14)["algorithm"] == "direct"


def test_the_reference_is_rejected() -> None:
    assert "bfloat16" not in kernels.available_dtypes("reference")
    for attempt in (
        lambda: kernels.Dense(zeros(2, 2), isa="reference"),
        lambda: kernels.Conv2d(zeros(2, 2, 1, 1), isa="reference"),
        lambda: kernels.Conv2d(zeros(2, 2, 3, 3), isa="reference"),
        lambda: kernels.register_tiles("reference", "bfloat16"),
        lambda: kernels.default_dense_schedule(4, 4, 4, "reference", dtype="bfloat16"),
        lambda: kernels.peak_gflops("reference", dtype="bfloat16"),
    ):
        with pytest.raises(ValueError, match="bfloat16 needs isa avx2 or avx512"):
            attempt()
