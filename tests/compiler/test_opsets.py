"""Models of every opset from 7 to the newest compile."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import compiler
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm
NEWEST_OF_ORACLE = 26  # the newest opset that the installed ONNX Runtime supports


def network(opset: int) -> onnx.ModelProto:
    """Operators of an image network in the form that the opset has: of Pad, Clip, Slice, Squeeze and ReduceMean."""
    by_input = {
        "pad": 'p = Pad <mode = "constant"> (x, pads)' if opset >= 11 else "p = Pad <pads = [0,0,1,1,0,0,1,1]> (x)",
        "clip": "r = Clip (n, low, high)" if opset >= 11 else "r = Clip <min = 0.0, max = 6.0> (n)",
        "slice": "s = Slice (r, starts, ends)" if opset >= 10 else "s = Slice <starts = [0,0,1], ends = [9,9,5]> (r)",
        "mean": "m = ReduceMean (s, axes)" if opset >= 18 else "m = ReduceMean <axes = [2, 3]> (s)",
        "squeeze": "q = Squeeze (m, axes)" if opset >= 13 else "q = Squeeze <axes = [2, 3]> (m)",
    }
    version = "ir_version: 8" if opset <= 21 else "ir_version: 10"
    text = f"""<{version}, opset_import: ["": {opset}]> g (float[1,3,6,6] x) => (float[1,5] y) {{
        {by_input["pad"]}
        c = Conv <kernel_shape = [3, 3]> (p, w)
        n = BatchNormalization (c, scale, bias, mean, variance)
        {by_input["clip"]}
        {by_input["slice"]}
        {by_input["mean"]}
        {by_input["squeeze"]}
        g = Gemm (q, v, b)
        y = Softmax <axis = 1> (g)
    }}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        **{name: rng.random(4).astype(np.float32) + 0.5 for name in ("scale", "bias", "mean", "variance")},
        "v": rng.standard_normal((4, 5)).astype(np.float32),
        "b": rng.standard_normal(5).astype(np.float32),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "low": np.float32(0),
        "high": np.float32(6),
        "starts": np.array([0, 0, 1]),
        "ends": np.array([9, 9, 5]),
        "axes": np.array([2, 3]),
    }
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items() if name in used
    )
    return model


@pytest.mark.parametrize("opset", range(7, onnx.defs.onnx_opset_version() + 1))
def test_every_opset(opset: int) -> None:
    model = network(opset)
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    want = oracle.run(network(min(opset, NEWEST_OF_ORACLE)), {"x": x})[0]
    built = compiler.build(model, threads=1, fallback=None)
    np.testing.assert_allclose(built.run({"x": x})["y"], want, rtol=0, atol=64 * np.finfo(np.float32).eps)
