"""Depthwise ``kernels.Conv2d`` against float64 outputs and derived bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.convolutions import layer
from tests.kernels.memory import CANARY, next_to_forbidden_page
from tests.kernels.splits import splits

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
NARROW_ISAS = [isa for isa in kernels.available_isas() if "bfloat16" in kernels.available_dtypes(isa)]


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    """Draws the usual kernels, which have strips, half of the time; otherwise any kernel and window."""
    if draw(st.booleans()):
        kernel = draw(st.tuples(st.sampled_from([3, 5]), st.sampled_from([3, 5])))
        stride, dilation, most = draw(st.tuples(*[st.integers(1, 2)] * 2)), (draw(st.integers(1, 2)), 1), 2
    else:
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 7)))
        stride, dilation, most = draw(st.tuples(*[st.integers(1, 3)] * 2)), draw(st.tuples(*[st.integers(1, 3)] * 2)), 6
    padding = draw(st.tuples(*[st.integers(0, most)] * 4))
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    h = draw(st.integers(max(1, spans[0] - padding[0] - padding[2]), 18))
    w = draw(st.integers(max(1, spans[1] - padding[1] - padding[3]), 34))
    n, c = draw(st.integers(1, 3)), draw(st.integers(2, 80))
    epilogue = [step for step in ("bias", "residual") if draw(st.booleans())]
    activation = draw(st.sampled_from([None, *ACTIVATIONS]))
    steps = (*epilogue, *([activation] if activation else []))
    return Workload.conv2d(n, h, w, c, c, kernel, stride, padding, dilation, groups=c, epilogue=steps)


@st.composite
def schedules(draw: st.DrawFn, threads: int) -> dict[str, Any] | None:
    """Draws any schedule that every ISA and kernel supports, and the default."""
    if draw(st.booleans()):
        return None
    return {
        "columns": draw(st.integers(1, 8)),
        "channels": draw(st.sampled_from([1, 8, 16, 24, 1000])),
        **draw(splits(threads)),
    }


def assert_right(y: np.ndarray, workload: Workload, inputs: Mapping[str, np.ndarray]) -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs)
    assert y.shape == workload.output_shape
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, data: st.DataObject) -> None:
    workload, threads = data.draw(workloads()), data.draw(st.integers(1, 4))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, data.draw(schedules(threads)))
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)


@pytest.mark.parametrize("isa", NARROW_ISAS)
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_images_of_bfloat16(isa: str, data: st.DataObject) -> None:
    """x, the output and the residual are bfloat16 or not; weights and sums are float32."""
    workload, threads = data.draw(workloads()), data.draw(st.integers(1, 2))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    for name in ("x", *(["residual"] if "residual" in inputs else [])):
        if data.draw(st.booleans()):
            inputs[name] = inputs[name].astype(BFLOAT16)
    out = np.full(workload.output_shape, np.nan, data.draw(st.sampled_from([np.float32, BFLOAT16])))
    op = layer(workload, inputs, isa, threads, data.draw(schedules(threads)))
    y = op(inputs["x"], out, inputs.get("residual")).astype(np.float64)
    floats = {name: array.astype(np.float32) for name, array in inputs.items()}
    want, allowed = reference(workload, floats), tolerance(workload, floats)
    if out.dtype == BFLOAT16:
        allowed = allowed + 2.0**-8 * (np.abs(want) + allowed) + np.finfo(np.float32).tiny
    assert (np.abs(y - want) <= allowed).all(), workload


@pytest.mark.parametrize("isa", NARROW_ISAS)
def test_a_new_output_has_the_type_of_the_image(isa: str) -> None:
    op = kernels.Conv2d(np.ones((16, 1, 3, 3), np.float32), padding=1, groups=16, isa=isa)
    for dtype in (np.dtype(np.float32), BFLOAT16):
        assert op(np.ones((1, 5, 5, 16), dtype)).dtype == dtype


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_strips_of_every_width(isa: str, kernel: int, stride: int) -> None:
    """Images with and without pixels next to a strip of this width."""
    for width in range(1, 30):
        workload = Workload.conv2d(1, 6, width, 20, 20, kernel, stride, kernel // 2, groups=20, epilogue=("relu6",))
        inputs = make_inputs(workload, seed=width)
        assert_right(layer(workload, inputs, isa)(inputs["x"]), workload, inputs)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_writes_nothing_but_the_output(isa: str, data: st.DataObject) -> None:
    workload, threads = data.draw(workloads()), data.draw(st.integers(1, 3))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa, threads, data.draw(schedules(threads)))
    wall = np.full(int(np.prod(workload.output_shape)) + 128, CANARY)
    out = wall[64:-64].reshape(workload.output_shape)
    assert op(inputs["x"], out=out, residual=inputs.get("residual")) is out
    assert_right(out, workload, inputs)
    assert (wall[:64] == CANARY).all()
    assert (wall[-64:] == CANARY).all()


@pytest.mark.parametrize("edge", ["start", "end"])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_reads_nothing_outside_its_inputs(isa: str, edge: Literal["start", "end"], data: st.DataObject) -> None:
    """Inputs and output are adjacent to a page without access rights: one byte too far ends the process."""
    workload = data.draw(workloads())
    inputs = {name: next_to_forbidden_page(value, edge) for name, value in make_inputs(workload).items()}
    op = layer(workload, inputs, isa, 1, data.draw(schedules(1)))
    out = next_to_forbidden_page(np.zeros(workload.output_shape, np.float32), edge)
    assert_right(op(inputs["x"], out=out, residual=inputs.get("residual")), workload, inputs)


@pytest.mark.parametrize("dilation", [1, 2])
def test_residual_may_be_the_output(isa: str, dilation: int) -> None:
    workload = Workload.conv2d(
        2, 9, 19, 40, 40, 3, 1, dilation, dilation, groups=40, epilogue=("bias", "residual", "silu")
    )
    inputs = make_inputs(workload)
    out = inputs["residual"].copy()
    layer(workload, inputs, isa, 2)(inputs["x"], out=out, residual=out)
    assert_right(out, workload, inputs)


@pytest.mark.parametrize("dilation", [1, 2])
def test_nan_reaches_the_windows_that_meet_it_and_no_other(isa: str, dilation: int) -> None:
    pad = 2 * dilation
    workload = Workload.conv2d(1, 9, 9, 20, 20, 5, 1, pad, dilation, groups=20, epilogue=("relu6",))
    inputs = make_inputs(workload)
    op = layer(workload, inputs, isa)
    expected = op(inputs["x"])
    inputs["x"][0, 0, 4, 7] = np.nan
    y = op(inputs["x"])
    hit = np.zeros(expected.shape, bool)
    hit[0, : pad + 1 : dilation, 4 - pad : 4 + pad + 1 : dilation, 7] = True
    assert np.isnan(y[hit]).all()
    np.testing.assert_array_equal(y[~hit], expected[~hit])


@pytest.mark.parametrize("multiple", [2, 3])
def test_several_outputs_a_channel(isa: str, multiple: int) -> None:
    workload = Workload.conv2d(1, 8, 8, 18, 18 * multiple, 3, 1, 1, groups=18, epilogue=("bias", "relu"))
    inputs = make_inputs(workload)
    assert_right(layer(workload, inputs, isa)(inputs["x"]), workload, inputs)


def test_a_schedule_is_what_it_says(isa: str) -> None:
    workload = Workload.conv2d(1, 14, 14, 96, 96, 3, 1, 1, groups=96)
    inputs = make_inputs(workload)
    default = layer(workload, inputs, isa, 2).schedule(1, 14, 14)
    assert set(default) == {"columns", "channels", "threads"}
    assert layer(workload, inputs, isa, 2, default).schedule(1, 7, 7) == default


def test_weights_are_copied(isa: str) -> None:
    workload = Workload.conv2d(1, 6, 6, 9, 9, 3, groups=9, epilogue=("bias",))
    inputs = make_inputs(workload)
    weight, bias = inputs["weight"].copy(), inputs["bias"].copy()
    op = kernels.Conv2d(weight, bias, groups=9, isa=isa)
    weight[:], bias[:] = np.nan, np.nan
    assert_right(op(inputs["x"]), workload, inputs)


BAD_SCHEDULES = {
    "too wide": ({"columns": 15}, "no strips of 15 columns for this kernel"),
    "no columns": ({"columns": 0}, "no strips of 0 columns"),
    "no channels": ({"channels": 0}, "channels must be at least 1"),
    "threads that do not divide": ({"threads_m": 3}, r"threads_m must divide threads \(2\), got 3"),
    "more threads than there are": ({"threads": (2, 2)}, r"a product of at most 2, got \(2, 2\)"),
    "no threads": ({"threads": (1, 0)}, r"threads must be two integers of at least 1, .* got \(1, 0\)"),
    "no integer": ({"columns": "all"}, "columns must be an integer, got 'all'"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_SCHEDULES.values(), ids=BAD_SCHEDULES.keys())
def test_illegal_schedules_are_rejected(isa: str, changes: dict[str, Any], message: str) -> None:
    schedule = {"columns": 4, "channels": 16, "threads_m": 1, **changes}
    with pytest.raises(ValueError, match=message):
        kernels.Conv2d(np.zeros((8, 1, 3, 3), np.float32), groups=8, isa=isa, threads=2, schedule=schedule)


def test_the_schedule_of_another_convolution_is_rejected(isa: str) -> None:
    with pytest.raises(ValueError, match="schedule lacks 'columns'"):
        kernels.Conv2d(np.zeros((8, 1, 3, 3), np.float32), groups=8, isa=isa, schedule={"mr": 4, "nr": 16})
