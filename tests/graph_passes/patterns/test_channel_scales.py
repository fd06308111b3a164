"""Scales per channel of the inputs of depthwise convolutions, as NNCF writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import graph_passes
from tests.graph_passes.models import model, operators, remarks

CHANNELS = """g (float[1,3,9,9] x) => (float[1,8,5,5] y)
    <int8[8,3,3,3] w1, float[8] w1_scale, int8[8] w1_zero, float[8] b1, float[8] a_scale, int8[8] a_zero,
     int8[8,1,3,3] w2, float[8] w2_scale, int8[8] w2_zero, float[8] b2, float low = {0}, float high = {6},
     float x_scale = {0.02}, int8 x_zero = {-7}, float y_scale = {0.05}, int8 y_zero = {3}> {
    x8 = QuantizeLinear (x, x_scale, x_zero)
    xf = DequantizeLinear (x8, x_scale, x_zero)
    w1f = DequantizeLinear <axis: int = 0> (w1, w1_scale, w1_zero)
    a = Conv <pads: ints = [1,1,1,1]> (xf, w1f, b1)
    ac = Clip (a, low, high)
    a8 = QuantizeLinear <axis: int = 1> (ac, a_scale, a_zero)
    af = DequantizeLinear <axis: int = 1> (a8, a_scale, a_zero)
    w2f = DequantizeLinear <axis: int = 0> (w2, w2_scale, w2_zero)
    c = Conv <group: int = 8, pads: ints = [1,1,1,1], strides: ints = [2,2]> (af, w2f, b2)
    c8 = QuantizeLinear (c, y_scale, y_zero)
    y = DequantizeLinear (c8, y_scale, y_zero)
}"""
STEP = 0.05
EMPTY = 3  # a channel that is empty in calibration


def per_channel(text: str = CHANNELS) -> onnx.ModelProto:
    rng = np.random.default_rng(5)
    a_scale, a_zero = np.linspace(0.0015, 6 / 255, 8), np.full(8, -128)
    a_scale[EMPTY], a_zero[EMPTY] = 6.3e-6, 0
    arrays = {
        "w1": rng.integers(-90, 90, (8, 3, 3, 3)),
        "w2": rng.integers(-127, 128, (8, 1, 3, 3)),
        "w1_scale": np.linspace(0.002, 0.02, 8),
        "w2_scale": np.linspace(0.02, 0.002, 8),
        "w1_zero": np.zeros(8),
        "w2_zero": np.zeros(8),
        "a_scale": a_scale,
        "a_zero": a_zero,
    }
    return model(text, **arrays)


def run(proto: onnx.ModelProto, optimized: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if optimized is None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(optimized)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((1, 3, 9, 9), np.float32)
    return np.asarray(session.run(None, {"x": x})[0])


def test_onnx_runtime_fuses_all_layers(tmp_path: Path) -> None:
    before = per_channel()
    after = graph_passes.optimize(before, passes=["normalize_qdq"]).model
    onnx.checker.check_model(after, full_check=True)
    assert operators(after) == {"QuantizeLinear": 3, "DequantizeLinear": 7, "Conv": 2}
    run(after, tmp_path / "optimized.onnx")
    assert operators(onnx.load(tmp_path / "optimized.onnx"))["QLinearConv"] == 2
    wanted, found = run(before), run(after)
    assert len(np.unique(wanted)) > 20
    assert np.abs(found - wanted).max() <= STEP * 1.01
    assert (np.abs(found - wanted) > STEP / 2).mean() < 0.02


def test_the_integers_of_the_weights_stay() -> None:
    before = per_channel()
    after = graph_passes.optimize(before, passes=["normalize_qdq"]).model
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    for tensor in before.graph.initializer:
        if tensor.name in ("w1", "w2"):
            np.testing.assert_array_equal(kept[tensor.name], numpy_helper.to_array(tensor))


def test_layers_of_integers() -> None:
    """The lowering computes both convolutions in integers."""
    before = per_channel()
    optimized = graph_passes.optimize(before, passes=["freeze_shapes", "integer_layers"])
    assert "quantized, but computed in float32" not in remarks(optimized)
    assert not {"Conv", "Clip"} & set(operators(optimized.model))
    plain = graph_passes.inline(optimized.model)
    assert np.abs(run(plain) - run(before)).max() <= STEP * 1.01


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("float high = {6}", "float high = {3}", "the limits of the Clip are narrower"),
        ("float low = {0}", "float low = {-1}", "their zero points differ"),
        ("ac = Clip (a, low", "n = Neg (a)\n ac = Clip (n, low", "no convolution with a quantized weight"),
        (
            "c8 = QuantizeLinear (c,",
            """p = MaxPool <kernel_shape: ints = [1,1], strides: ints = [2,2]> (af)
            s = Add (c, p)
            c8 = QuantizeLinear (s,""",
            "other nodes than quantized depthwise convolutions read it",
        ),
    ],
)
def test_what_keeps_its_scales(before: str, after: str, reason: str) -> None:
    text = CHANNELS.replace(before, after)
    assert text != CHANNELS
    original = per_channel(text)
    optimized = graph_passes.optimize(original, passes=["normalize_qdq"])
    assert reason in remarks(optimized)
    assert np.abs(run(optimized.model) - run(original)).max() <= STEP * 1.01
