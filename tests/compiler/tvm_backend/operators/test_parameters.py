"""Parameters that do not fit the data: code that reads them would leave the tensor, so the build rejects them."""

from __future__ import annotations

import pytest

from tests.compiler.tvm_backend.operators.single import rejected

MODELS = {
    "InstanceNormalization": "(float[2,8,3] x, float[3] s) => (float[] y) { y = InstanceNormalization (x, s, s) }",
    "BatchNormalization": "(float[2,8,3] x, float[3] s) => (float[] y) { y = BatchNormalization (x, s, s, s, s) }",
    "LayerNormalization": "(float[2,8] x, float[3] s) => (float[] y) { y = LayerNormalization (x, s) }",
    "ReverseSequence": "(float[3,4] x, int64[1] n) => (float[] y) { y = ReverseSequence (x, n) }",
    "QuantizeLinear": "(float[2,8] x, float[8] s, uint8[3] z) => (uint8[] y) { y = QuantizeLinear (x, s, z) }",
    "DequantizeLinear": "(uint8[2,8] x, float[3] s) => (float[] y) { y = DequantizeLinear (x, s) }",
    "Conv": "(float[1,1,3] x, float[1,1,1] w, float[5] b) => (float[] y) { y = Conv (x, w, b) }",
    "Gemm": "(float[2,3] x, float[3,4] w, float[3] c) => (float[] y) { y = Gemm (x, w, c) }",
    "PRelu": "(float[2,3] x, float[2,2,3] s) => (float[] y) { y = PRelu (x, s) }",
    "ScatterElements": "(float[3] x, int64[2] i, float[3] u) => (float[] y) { y = ScatterElements (x, i, u) }",
    "GridSample": "(float[1,1,3,3] x, float[2,2,2,2] g) => (float[] y) { y = GridSample (x, g) }",
    "RoiAlign": "(float[1,1,3,3] x, float[2,4] r, int64[3] b) => (float[] y) { y = RoiAlign (x, r, b) }",
}


@pytest.mark.tvm
@pytest.mark.parametrize("name", MODELS)
def test_parameters_of_a_wrong_size(name: str) -> None:
    rejected(MODELS[name], rf"{name} \(node|[Ii]ncompatible|[Ss]hape|not valid|dimension")


@pytest.mark.tvm
@pytest.mark.parametrize("equation", ["ij->ik", "i.j->i", "......->", "ijk->i"])
def test_equations_that_are_not_valid(equation: str) -> None:
    rejected(f'(float[2,3] x) => (float[] y) {{ y = Einsum <equation="{equation}"> (x) }}', "Einsum|einsum|valid")
