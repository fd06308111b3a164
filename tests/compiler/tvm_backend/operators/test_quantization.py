"""Conversions between floats and integers, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from tests.compiler.tvm_backend.operators.single import INF, NAN, check

EDGES = np.array([NAN, -NAN, INF, -INF, 3e38, -3e38, 0.25, 0.75, -0.25, -0.0, 126.6, -130.4], np.float32)


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_saturates_and_takes_nan_to_the_lower_limit(dtype: str) -> None:
    text = f"(float[12] x) => ({dtype}[12] y) <float s = {{0.5}}, {dtype} z = {{3}}> {{ y = QuantizeLinear (x, s, z) }}"
    check(text, opset=21, x=EDGES)


@pytest.mark.tvm
def test_a_series_of_quantizers() -> None:
    """They become one function. If each read its input four times, it would have 4^6 terms, and take minutes."""
    steps = [
        f"q{i} = QuantizeLinear (v{i}, s, z) d{i} = DequantizeLinear (q{i}, s, z) v{i + 1} = Add (d{i}, x)"
        for i in range(6)
    ]
    head = "(float[40] v0, float[40] x) => (float[40] v6) <float s = {0.5}, uint8 z = {90}>"
    rng = np.random.default_rng(0)
    # Multiples of the scale: no sum lies halfway between two steps, where a rounding error would decide.
    v0, x = (rng.integers(-8, 9, 40).astype(np.float32) / 2 for _ in range(2))
    check(f"{head} {{ {' '.join(steps)} }}", opset=21, rtol=0.0, v0=v0, x=x)
