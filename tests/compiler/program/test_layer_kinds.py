"""Every kind of layer in the definitions: C++ makes it, and it survives saving and loading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import compiler
from compiler.program import native
from compiler.workloads.operators import LAYER_SCHEMAS
from tests.compiler.models import built, graph, kernels_of

# For each kind, a model with such a layer: input, weights and statements.
_CONVOLUTIONS = "float[160,8,1,1] w1, float[160,1,3,3] w2, float[8,160,1,1] w3"
_IMAGE, _FILTER = "float[1,8,9,9] x", "float[8,8,1,1] w"
MODELS = {
    "dense": ("float[3,8] x", "float[8,16] w", "@ = MatMul (x, w)"),
    "block_dense": ("float[3,8] x", "int8[8,16] w, float[16] s", "@a = DequantizeLinear (w, s) @ = MatMul (x, @a)"),
    "channels_last": ("float[1,3,64,65] x", "", "@ = Transpose <perm = [0,2,3,1]> (x)"),
    "conv2d": ("float[1,8,9,9] x", "float[4,8,3,3] w", "@ = Conv (x, w)"),
    "conv_transpose2d": (_IMAGE, "float[8,4,2,2] w", "@ = ConvTranspose <strides = [2,2]> (x, w)"),
    "conv2d_chain": (
        "float[1,8,90,90] x",
        _CONVOLUTIONS,
        "@a = Conv (x, w1) @b = Conv <group = 160, pads = [1,1,1,1]> (@a, w2) @ = Conv (@b, w3)",
    ),
    "softmax": ("float[3,8] x", "", "@ = Softmax (x)"),
    "layer_norm": ("float[3,8] x", "float[8] g, float[8] b", "@ = LayerNormalization (x, g, b)"),
    "rms_norm": ("float[3,8] x", "float[8] g", "@ = RMSNormalization <epsilon = 0.01> (x, g)"),
    "group_norm": (
        _IMAGE,
        f"{_FILTER}, float[8] g, float[8] b",
        "@a = Conv (x, w) @b = InstanceNormalization (@a, g, b) @ = Relu (@b)",
    ),
    "max_pool2d": (_IMAGE, _FILTER, "@a = Conv (x, w) @ = MaxPool <kernel_shape = [3,3], strides = [2,2]> (@a)"),
    "avg_pool2d": (_IMAGE, _FILTER, "@a = Conv (x, w) @ = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]> (@a)"),
    "avg_pool2d_with_pads": (
        _IMAGE,
        _FILTER,
        "@a = Conv (x, w) @ = AveragePool <kernel_shape = [3,3], pads = [1,1,1,1], count_include_pad = 1> (@a)",
    ),
    "recurrent": (
        "float[4,2,3] x, float[1,2,5] h",
        "float[1,20,3] w, float[1,20,5] r, float[1,40] b, float[1,15] p",
        "@, @h, @c = LSTM <hidden_size = 5> (x, w, r, b, , h, , p)",
    ),
    "attention": (
        "float[1,2,5,8] q, float[1,2,7,8] k, float[1,2,7,8] v",
        "",
        "@t = Transpose <perm = [0,1,3,2]> (k) @s = MatMul (q, @t) @p = Softmax (@s) @ = MatMul (@p, v)",
    ),
}


def test_cpp_has_the_kinds_of_the_definitions() -> None:
    assert sorted(map(str, native.function("layer_kinds")())) == sorted(LAYER_SCHEMAS)


@pytest.mark.tvm
@pytest.mark.parametrize(
    "kind", [kind for kind in LAYER_SCHEMAS if kind != "user_operator"]
)  # test_operators.py has it
def test_a_layer_is_saved_and_loaded(kind: str) -> None:
    inputs, weights, statements = MODELS[kind]
    opset = 23 if "RMSNormalization" in statements else 18
    found = built(graph(inputs, weights, {"y": statements}, opset))  # compares the answers after saving and loading
    assert kernels_of(found)[kind] == 1


@pytest.mark.tvm
def test_weights_are_listed_by_name(tmp_path: Path) -> None:
    inputs, weights, statements = MODELS["conv2d_chain"]
    compiler.build(graph(inputs, weights, {"y": statements}), threads=1).save(tmp_path / "model.lw")
    (layer,) = json.loads((tmp_path / "model.lw" / "manifest.json").read_text())["layers"]
    assert layer["weights"] == {"weight0": 0, "weight1": 1, "weight2": 2}
