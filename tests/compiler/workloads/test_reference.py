"""The oracle against PyTorch in float64, and its tolerances against what float32 arithmetic really does."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from compiler.workloads.reference import NUMPY_DTYPES, make_inputs, reference, tolerance
from compiler.workloads.workload import DTYPE_BYTES, Workload

torch = pytest.importorskip("torch")

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> Workload:
    groups = draw(st.integers(1, 4))
    try:
        return Workload.conv2d(
            draw(st.integers(1, 2)),
            draw(st.integers(1, 9)),
            draw(st.integers(1, 9)),
            groups * draw(st.integers(1, 3)),
            groups * draw(st.integers(1, 3)),
            draw(PAIRS),
            draw(PAIRS),
            draw(st.tuples(*[st.integers(0, 3)] * 4)),
            draw(PAIRS),
            groups,
        )
    except ValueError:
        assume(False)
        raise


def convolved(workload: Workload, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """By PyTorch, in the arrays' own precision."""
    s = workload.sizes
    pads = s["pad_left"], s["pad_right"], s["pad_top"], s["pad_bottom"]
    y = torch.nn.functional.conv2d(
        torch.nn.functional.pad(torch.from_numpy(x).permute(0, 3, 1, 2), pads),
        torch.from_numpy(weight),
        stride=(s["stride_h"], s["stride_w"]),
        dilation=(s["dilation_h"], s["dilation_w"]),
        groups=s["groups"],
    )
    return y.permute(0, 2, 3, 1).numpy()


@settings(deadline=None)
@given(workload=convolutions(), seed=st.integers(0, 9))
def test_convolutions(workload: Workload, seed: int) -> None:
    inputs = make_inputs(workload, seed)
    x, weight = inputs["x"], inputs["weight"]
    expected = convolved(workload, x.astype(np.float64), weight.astype(np.float64))
    np.testing.assert_allclose(reference(workload, inputs), expected, rtol=1e-12, atol=1e-12)
    assert np.all(np.abs(convolved(workload, x, weight) - expected) <= tolerance(workload, inputs))


@settings(deadline=None)
@given(dims=st.tuples(*[st.integers(1, 6)] * 2, *[st.integers(1, 20)] * 3), seed=st.integers(0, 9))
def test_attention(dims: tuple[int, ...], seed: int) -> None:
    workload = Workload("attention", dims)
    inputs = make_inputs(workload, seed)

    def attend(dtype: type) -> np.ndarray:
        q, k, v = (torch.from_numpy(inputs[name].astype(dtype)).transpose(1, 2) for name in "qkv")
        return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).numpy()

    expected = attend(np.float64)
    np.testing.assert_allclose(reference(workload, inputs), expected, rtol=1e-11, atol=1e-11)
    assert np.all(np.abs(attend(np.float32) - expected) <= tolerance(workload, inputs))


def test_inputs_are_of_the_workloads_shapes_and_type() -> None:
    for dtype in DTYPE_BYTES:
        workload = Workload.conv2d(2, 5, 6, 4, 8, 3, groups=2, dtype=dtype, epilogue=("bias", "residual"))
        inputs = make_inputs(workload)
        assert {name: value.shape for name, value in inputs.items()} == workload.input_shapes
        assert inputs.pop("bias").dtype == np.float32
        assert {value.dtype for value in inputs.values()} == {NUMPY_DTYPES[dtype]}


def test_bfloat16_is_float32_rounded() -> None:
    float32, bfloat16 = (make_inputs(Workload.dense(4, 5, 6, dtype), seed=3) for dtype in ("float32", "bfloat16"))
    for name, value in float32.items():
        np.testing.assert_array_equal(bfloat16[name], value.astype(ml_dtypes.bfloat16))


@given(
    dims=st.tuples(*[st.integers(1, 40)] * 3),
    epilogue=st.sampled_from([(), ("bias",), ("residual", "gelu")]),
    seed=st.integers(0, 9),
)
def test_bfloat16_accumulated_in_float32(dims: tuple[int, ...], epilogue: tuple[str, ...], seed: int) -> None:
    workload = Workload("dense", dims, "bfloat16", epilogue)
    inputs = make_inputs(workload, seed)
    exact, allowed = reference(workload, inputs), tolerance(workload, inputs)
    rounded = exact.astype(ml_dtypes.bfloat16).astype(np.float64)
    assert np.all(np.abs(rounded - exact) <= allowed)
    assert np.all(allowed <= np.abs(exact) * 2**-7 + 1e-3)  # a unit in the last place further off is wrong


@pytest.mark.parametrize("dtype", DTYPE_BYTES)
def test_a_missing_product_is_wrong(dtype: str) -> None:
    workload = Workload.conv2d(1, 14, 14, 64, 64, 3, padding=1, dtype=dtype)
    inputs = make_inputs(workload)
    expected = reference(workload, inputs)
    inputs["weight"][:, :, 0, 0] = 0
    assert np.any(np.abs(reference(workload, inputs) - expected) > tolerance(workload, inputs))
