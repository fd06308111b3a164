from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import graph_passes
from tests.graph_passes.models import model, operators

# As NNCF writes a layer: weights that are quantized in the model, a bias in floating point, constants as nodes, a Clip.
FOREIGN = """g (float[1,3,8,8] x) => (float[1,4,8,8] y)
    <float[8,3,3,3] w1, float[8] b1, float[4,8,1,1] w2, float[4] b2, float[8] w1_scale, int8[8] w1_zero,
     float w2_scale = {0.02}, int8 w_zero = {0}, float x_scale = {0.05}, uint8 x_zero = {128}, uint8 zero = {0}> {
    low = Constant <value_float: float = 0.0> ()
    high = Constant <value_float: float = 6.0> ()
    a_scale = Constant <value_float: float = 0.02352941> ()
    y_scale = Constant <value_float: float = 0.05> ()
    x8 = QuantizeLinear (x, x_scale, x_zero)
    xf = DequantizeLinear (x8, x_scale, x_zero)
    w18 = QuantizeLinear <axis: int = 0> (w1, w1_scale, w1_zero)
    w1f = DequantizeLinear <axis: int = 0> (w18, w1_scale, w1_zero)
    a = Conv <pads: ints = [1,1,1,1]> (xf, w1f, b1)
    ac = Clip (a, low, high)
    a8 = QuantizeLinear (ac, a_scale, zero)
    af = DequantizeLinear (a8, a_scale, zero)
    w28 = QuantizeLinear (w2, w2_scale, w_zero)
    w2f = DequantizeLinear (w28, w2_scale, w_zero)
    c = Conv (af, w2f, b2)
    c8 = QuantizeLinear (c, y_scale, x_zero)
    y = DequantizeLinear (c8, y_scale, x_zero)
}"""
W1_SCALE = np.linspace(0.01, 0.03, 8)


def foreign(text: str = FOREIGN) -> onnx.ModelProto:
    return model(text, w1_scale=W1_SCALE, w1_zero=np.zeros(8))


def normalized(before: onnx.ModelProto) -> onnx.ModelProto:
    return graph_passes.optimize(before, passes=["normalize_qdq"]).model


def run(proto: onnx.ModelProto, optimized: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if optimized is None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, 3, 8, 8), np.float32) * 3
    return np.asarray(session.run(None, {"x": x})[0])


def test_what_remains() -> None:
    before = foreign()
    after = normalized(before)
    onnx.checker.check_model(after, full_check=True)
    # Three images, two weights, two biases.
    assert operators(after) == {"QuantizeLinear": 3, "DequantizeLinear": 7, "Conv": 2}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    made_by = {node.output[0]: node for node in after.graph.node}
    for node in after.graph.node:
        if node.op_type == "Conv":
            weight, bias = (made_by[name] for name in node.input[1:])
            assert tensors[weight.input[0]].dtype == np.int8
            assert tensors[bias.input[0]].dtype == np.int32
    assert operators(normalized(after)) == operators(after)


def test_few_answers_move() -> None:
    before, after = foreign(), normalized(foreign())
    wanted, found = run(before), run(after)
    assert (found != wanted).mean() < 0.05
    assert np.abs(found - wanted).max() <= 0.2  # an integer between both layers moves by 1, the next sum by its weight


def test_onnx_runtime_fuses_all_layers(tmp_path: Path) -> None:
    run(normalized(foreign()), tmp_path / "optimized.onnx")
    assert operators(onnx.load(tmp_path / "optimized.onnx"))["QLinearConv"] == 2


@pytest.mark.parametrize(
    ("before", "after", "stays"),
    [
        ("value_float: float = 6.0", "value_float: float = 5.9", True),  # two steps less than the highest integer
        ("value_float: float = 6.0", "value_float: float = 9.0", False),
        ("value_float: float = 0.0", "value_float: float = 0.1", True),
        ("ac = Clip (a, low, high)", "ac = Relu (a)", False),
        ("ac = Clip (a, low, high)", "ac = Clip (a, low)", False),
        ("ac = Clip (a, low, high)", "ac = Clip (a, , high)", False),
        ("a8 = QuantizeLinear (ac, a_scale, zero)", "a8 = QuantizeLinear (ac, a_scale, x_zero)", True),
    ],
)
def test_a_clip_stays_where_saturation_is_wider(before: str, after: str, stays: bool) -> None:
    text = FOREIGN.replace(before, after)
    if "x_zero)" in after:
        text = text.replace("af = DequantizeLinear (a8, a_scale, zero)", "af = DequantizeLinear (a8, a_scale, x_zero)")
    assert text != FOREIGN
    original = foreign(text)
    found = normalized(original)
    assert any(name in ("Clip", "Relu") for name in operators(found)) == stays
    assert (run(found) != run(original)).mean() < 0.05


def test_a_bias_that_exceeds_32_bits_stays() -> None:
    before = foreign(FOREIGN.replace("float w2_scale = {0.02}", "float w2_scale = {1e-9}"))
    for tensor in before.graph.initializer:
        if tensor.name == "b2":
            tensor.CopyFrom(numpy_helper.from_array(np.full(4, 1e4, np.float32), "b2"))
    (report,) = graph_passes.optimize(before, passes=["normalize_qdq"]).reports
    assert [remark.what for remark in report.remarks] == [
        "its bias stays in floating point: it exceeds 32 bits in steps of its sum"
    ]


def test_a_model_without_quantization_does_not_change() -> None:
    before = model("g (float[1,4] x) => (float[1,2] y) <float[4,2] w> { m = MatMul (x, w) y = Relu (m) }")
    assert operators(normalized(before)) == operators(before)


@pytest.mark.parametrize(("kind", "dtype"), [(3, np.int8), (2, np.uint8), (5, None)])
def test_the_type_of_a_weight_without_zero_point(kind: int, dtype: type | None) -> None:
    """The attribute output_dtype of opset 21 decides; integers of 16 bits stay as they are."""
    before = model(
        f"""g (float[1,4] x) => (float[1,2] y) <float[4,2] w, float scale = {{0.02}}, uint8 zero = {{128}}> {{
            x8 = QuantizeLinear (x, scale, zero)
            xf = DequantizeLinear (x8, scale, zero)
            q = QuantizeLinear <output_dtype: int = {kind}> (w, scale)
            wf = DequantizeLinear (q, scale)
            y = MatMul (xf, wf)
        }}""",
        opset=21,
    )
    after = normalized(before)
    found = [numpy_helper.to_array(tensor) for tensor in after.graph.initializer if tensor.name.startswith("w_")]
    assert [array.dtype for array in found] == ([] if dtype is None else [dtype])
    x = np.random.default_rng(0).standard_normal((1, 4), np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    answers = [
        onnxruntime.InferenceSession(each.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        for each in (before, after)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
