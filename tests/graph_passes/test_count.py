"""Multiply-adds, nodes and parameters, compared with counts by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

import graph_passes
from graph_passes.count import Cost, macs, operators
from graph_passes.model_io import read


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18, "other" : 1]> g {body}')


def with_weights(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    return model


MODELS = {
    # 32 channels of 4x4 pixels, each of 8 channels of 3x3
    "conv": ("(float[1, 8, 4, 4] x, float[32, 8, 3, 3] w) => (float[1, 32, 4, 4] y) "
             "{ y = Conv<pads = [1, 1, 1, 1]>(x, w) }", 32 * 16 * 72),
    "strided": ("(float[2, 8, 4, 4] x, float[32, 8, 1, 1] w) => (float[2, 32, 2, 2] y) "
                "{ y = Conv<strides = [2, 2]>(x, w) }", 2 * 32 * 4 * 8),
    "grouped": ("(float[1, 8, 4, 4] x, float[32, 2, 1, 1] w) => (float[1, 32, 4, 4] y) "
                "{ y = Conv<group = 4>(x, w) }", 32 * 16 * 2),
    "depthwise": ("(float[1, 8, 4, 4] x, float[8, 1, 3, 3] w) => (float[1, 8, 2, 2] y) "
                  "{ y = Conv<group = 8>(x, w) }", 8 * 4 * 9),
    "one axis": ("(float[1, 8, 5] x, float[4, 8, 3] w) => (float[1, 4, 3] y) { y = Conv(x, w) }", 4 * 3 * 24),
    # each of 8 channels of 4x4 pixels goes to 6 channels of 2x2
    "transposed": ("(float[1, 8, 4, 4] x, float[8, 6, 2, 2] w) => (float[1, 6, 8, 8] y) "
                   "{ y = ConvTranspose<strides = [2, 2]>(x, w) }", 128 * 24),
    "transposed grouped": ("(float[1, 8, 4, 4] x, float[8, 3, 2, 2] w) => (float[1, 6, 8, 8] y) "
                           "{ y = ConvTranspose<strides = [2, 2], group = 2>(x, w) }", 128 * 12),
    "gemm": ("(float[2, 16] x, float[16, 8] w) => (float[2, 8] y) { y = Gemm(x, w) }", 2 * 16 * 8),
    "gemm transposed": ("(float[16, 2] x, float[8, 16] w) => (float[2, 8] y) "
                        "{ y = Gemm<transA = 1, transB = 1>(x, w) }", 2 * 16 * 8),
    "matmul": ("(float[5, 16] x, float[16, 8] w) => (float[5, 8] y) { y = MatMul(x, w) }", 5 * 16 * 8),
    "batched": ("(float[3, 5, 16] x, float[2, 1, 16, 8] w) => (float[2, 3, 5, 8] y) "
                "{ y = MatMul(x, w) }", 6 * 5 * 16 * 8),
    "inner product": ("(float[16] x, float[16] w) => (float y) { y = MatMul(x, w) }", 16),
    "integers": ("(uint8[5, 16] x, int8[16, 8] w) => (int32[5, 8] y) { y = MatMulInteger(x, w) }", 5 * 16 * 8),
    "quantized": ("(uint8[5, 16] x, float s, uint8 z, uint8[16, 8] w) => (uint8[5, 8] y) "
                  "{ y = QLinearMatMul(x, s, z, w, s, z, s, z) }", 5 * 16 * 8),
    "quantized conv": ("(uint8[1, 8, 4, 4] x, float s, uint8 z, uint8[6, 8, 1, 1] w) => (uint8[1, 6, 4, 4] y) "
                       "{ y = QLinearConv(x, s, z, w, s, z, s, z) }", 6 * 16 * 8),
    "none": ("(float[5, 16] x) => (float[5, 16] y) { a = Relu(x)  y = Softmax(a) }", 0),
    "another domain": ("(float[5, 16] x, float[16, 8] w) => (float[5, 8] y) { y = other.MatMul(x, w) }", 0),
    "unknown shape": ("(float[N, 16] x, float[16, 8] w) => (float[N, 8] y) { y = MatMul(x, w) }", None),
    "unknown inside": ("(float[2, 16] x, float[16, 8] w) => (float[2, 8] y) { a = Relu(x)  y = MatMul(a, w) }", None),
    "unknown elsewhere": ("(float[N, 16] x) => (float[N, 16] y) { y = Relu(x) }", 0),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), MODELS.values(), ids=MODELS)
def test_multiply_adds_are_counted(body: str, expected: int | None) -> None:
    assert Cost.of(read(parsed(body))).macs == expected


LAYERS = {
    "Conv_bias_relu": parsed(
        "(float[1, 8, 4, 4] x) => (float[1, 32, 4, 4] y) { c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  y = Relu(c) }"
    ),
    "MatMul_bias_relu": parsed("(float[5, 8] x) => (float[5, 32] y) { p = MatMul(x, w)  s = Add(p, b)  y = Relu(s) }"),
    "Gemm_bias_relu": parsed("(float[8, 5] x) => (float[5, 32] y) { p = Gemm<transA = 1>(x, w, b)  y = Relu(p) }"),
}
WEIGHTS = {"Conv_bias_relu": (32, 8, 3, 3), "MatMul_bias_relu": (8, 32), "Gemm_bias_relu": (8, 32)}
WORK = {"Conv_bias_relu": 32 * 16 * 72, "MatMul_bias_relu": 5 * 8 * 32, "Gemm_bias_relu": 5 * 8 * 32}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_counts_as_what_it_is_made_of(layer: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(LAYERS[layer])
    with_weights(model, w=WEIGHTS[layer], b=(32,))
    fused = graph_passes.optimize(model, passes=["freeze_shapes", "fuse_layers"]).ir_model
    assert operators(fused) == {f"loopwright.{layer}": 1}
    assert Cost.of(fused).macs == WORK[layer]


def test_depthwise_and_pointwise_in_one_count_both() -> None:
    model = parsed(
        "(float[2, 8, 9, 9] x) => (float[2, 32, 4, 4] y) "
        "{ d = Conv<group = 8, strides = [2, 2]>(x, w1, b1)  r = Relu(d)  y = Conv(r, w2, b2) }"
    )
    with_weights(model, w1=(8, 1, 3, 3), b1=(8,), w2=(32, 8, 1, 1), b2=(32,))
    passes = [graph_passes.FreezeShapes(), graph_passes.FuseLayers(depthwise_pointwise=True)]
    fused = graph_passes.optimize(model, passes=passes)
    (name,) = operators(fused.ir_model)
    assert "_then_" in name
    assert fused.reports[-1].macs_before == fused.reports[-1].macs_after == 2 * 16 * 8 * 9 + 2 * 16 * 8 * 32


def test_attention_counts_its_two_products() -> None:
    """Also where values have another width than keys."""
    model = parsed(
        "(float[1, 2, 5, 8] q, float[1, 2, 7, 8] k, float[1, 2, 7, 6] v) => (float[1, 2, 5, 6] y) "
        "{ t = Transpose<perm = [0, 1, 3, 2]>(k)  p = MatMul(q, t)  c = Constant<value_float = 0.35>()  s = Mul(p, c) "
        "  a = Softmax<axis = -1>(s)  y = MatMul(a, v) }"
    )
    fused = graph_passes.optimize(model, passes=["freeze_shapes", "fuse_layers"])
    assert operators(fused.ir_model) == {"loopwright.Attention": 1}
    assert fused.reports[-1].macs_before == fused.reports[-1].macs_after == 2 * 5 * 7 * 8 + 2 * 5 * 7 * 6


def test_what_control_flow_holds_counts_too() -> None:
    model = read(
        parsed(
            "(bool c, float[5, 2] x) => (float[5, 2] y) { y = If(c) <"
            "then_branch = one () => (float[5, 2] t) <float[2, 2] w = {1, 2, 3, 4}> { t = MatMul(x, w) }, "
            "else_branch = two () => (float[5, 2] e) { k = Constant<value = float[2] {1, 2}>()  e = Add(x, k) }> }"
        )
    )
    assert operators(model) == Counter({"If": 1, "MatMul": 1, "Add": 1})
    assert Cost.of(model) == Cost(nodes=3, params=4 + 2, macs=5 * 2 * 2)


def test_a_node_without_inputs() -> None:
    """An expanded function may have one."""
    assert macs(ir.node("Conv", [])) is None
