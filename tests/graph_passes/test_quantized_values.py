"""Activations between QuantizeLinear and DequantizeLinear are rounded in float32 to the same steps."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graph_passes
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks

QUANTIZERS = {"QuantizeLinear", "DequantizeLinear"}


def rewritten(published: onnx.ModelProto, *inputs: dict[str, np.ndarray]) -> onnx.ModelProto:
    """Runs the pass. Checks that the result is valid, computes exactly the same outputs and does not change again."""
    before = published.SerializeToString()
    found = graph_passes.optimize(published, passes=["quantized_values"]).model
    assert published.SerializeToString() == before
    onnx.checker.check_model(found, full_check=True)
    for values in inputs or [oracle.random_inputs(published, seed) for seed in range(3)]:
        for want, got in zip(oracle.run(published, values), oracle.run(found, values), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)
    again = graph_passes.optimize(found, passes=["quantized_values"]).model
    assert operators(again) == operators(found)
    return found


@given(
    st.sampled_from(["uint8", "int8", "uint16", "int16"]),
    st.integers(0, 255),
    st.floats(2**-10, 2, width=32),
    st.integers(0, 2**32 - 1),
)
def test_a_pair_rounds_to_even_and_saturates(dtype: str, zero: int, scale: float, seed: int) -> None:
    zero = zero - 128 if dtype.startswith("int") else zero
    opset = 21 if "16" in dtype else 18
    published = model(
        f"""g (float[64] x) => (float[64] y) <float s, {dtype} a> {{
            q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, s, a)
        }}""",
        opset, s=scale, a=zero,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    halves = (np.arange(-16, 16) + 0.5) * scale
    x = np.concatenate([halves, rng.standard_normal(32) * scale * 300]).astype(np.float32)
    assert QUANTIZERS.isdisjoint(operators(rewritten(published, {"x": x})))


@pytest.mark.parametrize("zero", ["", ", a"])
def test_one_scale_per_channel(zero: str) -> None:
    published = model(
        f"""g (float[2,3,4,5] x) => (float[2,3,4,5] y) <float[3] s, uint8[3] a> {{
            q = QuantizeLinear <axis = 1> (x, s{zero})  y = DequantizeLinear <axis = 1> (q, s{zero})
        }}""",
        s=[0.5, 0.01, 0.03], a=[0, 128, 255],
    )  # fmt: skip
    assert QUANTIZERS.isdisjoint(operators(rewritten(published)))


def test_a_scale_that_is_computed() -> None:
    published = model(
        """g (float[3,4] x) => (float[3,4] y) <float most, int8 a> {
            b = Abs (x)  m = ReduceMax <keepdims = 0> (b)  s = Div (m, most)
            q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, s, a)
        }""",
        most=127, a=0,
    )  # fmt: skip
    assert QUANTIZERS.isdisjoint(operators(rewritten(published)))


@pytest.mark.parametrize(
    "moves",
    [
        "m = Reshape (q, flat)",
        "m = Transpose <perm = [0,2,3,1]> (q)",
        "m = MaxPool <kernel_shape = [2,2]> (q)",
        "t = Transpose <perm = [0,1,3,2]> (q) m = Concat <axis = 1> (t, t)",
        "m = Slice (q, one, two, one)",
        'm = Resize <mode = "nearest"> (q, , scales)',
    ],
)
def test_elements_move_between_both_as_floats(moves: str) -> None:
    published = model(
        f"""g (float[1,3,4,4] x) => (float[A] y) <float s, uint8 a, int64[1] flat, int64[1] one, int64[1] two,
            float[4] scales> {{
            q = QuantizeLinear (x, s, a)  {moves}  r = DequantizeLinear (m, s, a)  y = Reshape (r, flat)
        }}""",
        s=0.02, a=99, flat=-1, one=1, two=2, scales=[1, 1, 2, 2],
    )  # fmt: skip
    found = operators(rewritten(published))
    assert QUANTIZERS.isdisjoint(found)
    assert found["Round"] == 1


@pytest.mark.parametrize(
    "between", ["MaxPool <kernel_shape = [3,3], pads = [1,1,1,1]> (r)", "Relu (r)", "Pad (r, pads)"]
)
def test_values_on_the_same_steps_are_not_rounded_again(between: str) -> None:
    published = model(
        f"""g (float[1,2,4,4] x) => (float[A,B,C,D] y) <float s, uint8 a, int64[8] pads> {{
            q = QuantizeLinear (x, s, a)  r = DequantizeLinear (q, s, a)
            m = {between}
            t = QuantizeLinear (m, s, a)  y = DequantizeLinear (t, s, a)
        }}""",
        s=0.02, a=99, pads=[0, 0, 1, 1, 0, 0, 1, 1],
    )  # fmt: skip
    assert operators(rewritten(published))["Round"] == 1


@pytest.mark.parametrize(("zero", "stays"), [(0, False), (3, True)])
def test_a_relu_before_steps_from_zero_is_removed(zero: int, stays: bool) -> None:
    published = model(
        """g (float[4,5] x) => (float[4,5] y) <float s, uint8 a> {
            p = Relu (x)  q = QuantizeLinear (p, s, a)  y = DequantizeLinear (q, s, a)
        }""",
        s=0.02, a=zero,
    )  # fmt: skip
    assert ("Relu" in operators(rewritten(published))) == stays


def test_other_readers_of_the_integers_read_a_cast() -> None:
    published = model(
        """g (float[4,5] x) => (float[4,5] y, uint8[4,5] q, int32[4,5] i) <float s, uint8 a> {
            q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, s, a)  i = Cast <to = 6> (q)
        }""",
        s=0.02, a=99,
    )  # fmt: skip
    assert QUANTIZERS.isdisjoint(operators(rewritten(published)))


@pytest.mark.parametrize(
    "statements",
    [
        "q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, t, a)",  # another scale
        "q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, s, b)",  # another zero point
        "q = QuantizeLinear (x, s, a)  p = Mul (q, q)  y = DequantizeLinear (p, s, a)",
        "q = Cast <to = 2> (x)  y = DequantizeLinear (q, s, a)",
    ],
)
def test_other_conversions_stay(statements: str) -> None:
    published = model(
        f"g (float[4,5] x) => (float[4,5] y) <float s, float t, uint8 a, uint8 b> {{ {statements} }}",
        s=0.02, t=0.03, a=99, b=98,
    )  # fmt: skip
    found = graph_passes.optimize(published, passes=["quantized_values"]).model
    assert operators(found) == operators(published)


def test_old_opsets_are_not_supported() -> None:
    published = model(
        """g (float[4,5] x) => (float[4,5] y) <float s, uint8 a> {
            q = QuantizeLinear (x, s, a)  y = DequantizeLinear (q, s, a)
        }""",
        opset=11, s=0.02, a=99,
    )  # fmt: skip
    assert "at least 13" in remarks(graph_passes.optimize(published, passes=["quantized_values"]))
