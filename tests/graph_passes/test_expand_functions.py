"""Operators that ONNX defines by others compute the same after they were expanded."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import graph_passes
from graph_passes.expand_functions import EXPANDED

MODELS = {
    "Attention": (
        23,
        "(float[2,3,4,8] q, float[2,3,6,8] k, float[2,3,6,8] v) => (float[2,3,4,8] y)",
        "Attention (q, k, v)",
    ),
    "causal Attention": (
        *(23, "(float[2,3,4,8] q, float[2,3,4,8] k, float[2,3,4,8] v) => (float[2,3,4,8] y)"),
        "Attention <is_causal=1> (q, k, v)",
    ),
    "RotaryEmbedding": (
        *(23, "(float[1,2,3,8] x, float[3,4] c, float[3,4] s, int64[1,3] p) => (float[1,2,3,8] y)"),
        "RotaryEmbedding (x, c, s, p)",
    ),
    "SoftmaxCrossEntropyLoss": (18, "(float[4,5] x, int64[4] i) => (float y)", "SoftmaxCrossEntropyLoss (x, i)"),
    "CenterCropPad": (18, "(float[5,6] x) => (float[3,8] y) <int64[2] z = {3, 8}>", "CenterCropPad (x, z)"),
    "HannWindow": (17, "() => (float[7] y) <int64 n = {7}>", "HannWindow (n)"),
    "HammingWindow": (17, "() => (double[7] y) <int64 n = {7}>", "HammingWindow <output_datatype=11> (n)"),
    "BlackmanWindow": (17, "() => (float[7] y) <int32 n = {7}>", "BlackmanWindow <periodic=0> (n)"),
    "AffineGrid": (20, "(float[2,2,3] x) => (float[2,4,5,2] y) <int64[4] z = {2, 3, 4, 5}>", "AffineGrid (x, z)"),
}


@pytest.mark.parametrize("name", MODELS)
def test_definitions(name: str) -> None:
    opset, signature, call = MODELS[name]
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g {signature} {{ y = {call} }}')
    rng = np.random.default_rng(0)
    inputs = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        is_index = value.type.tensor_type.elem_type == onnx.TensorProto.INT64
        inputs[value.name] = rng.integers(0, 3, shape) if is_index else rng.standard_normal(shape).astype(np.float32)
    expanded = graph_passes.optimize(model, passes=["expand_functions"]).model
    assert not {node.op_type for node in expanded.graph.node} & set(EXPANDED)
    assert not expanded.functions
    onnx.checker.check_model(expanded)
    want, got = (np.asarray(next(iter(ReferenceEvaluator(m).run(None, inputs)))) for m in (model, expanded))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
