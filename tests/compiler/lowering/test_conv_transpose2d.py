"""Transposed convolutions become kernels: which ones, with what around them, and that the answers are right."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
from tests.compiler.models import assert_answers, built, graph, kernels_of
from tests.graph_passes import oracle

X = "float[2,8,7,6] x"
# Attributes, and the weight (c, o / groups, kh, kw).
GEOMETRIES = {
    "no overlap": ("strides = [2,2]", "float[8,6,2,2]"),
    "4x4": ("strides = [2,2], pads = [1,1,1,1]", "float[8,6,4,4]"),
    "output padding": ("strides = [2,2], pads = [1,1,1,1], output_padding = [1,1]", "float[8,6,3,3]"),
    "uneven": ("strides = [3,2], pads = [0,1,2,0], dilations = [1,2]", "float[8,6,4,3]"),
    "groups": ("strides = [2,2], group = 2", "float[8,6,2,2]"),
    "same size": ('strides = [2,2], auto_pad = "SAME_UPPER"', "float[8,6,3,3]"),
    "same size, lower": ('strides = [2,2], auto_pad = "SAME_LOWER"', "float[8,6,3,3]"),
    "no padding": ('strides = [2,2], auto_pad = "VALID"', "float[8,6,3,3]"),
    "a given size": ("strides = [2,2], output_shape = [14,13]", "float[8,6,3,3]"),
    "few channels": ("strides = [2,2]", "float[8,1,2,2]"),
}


@pytest.mark.tvm
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_transposed_convolution_is_a_kernel(name: str) -> None:
    attributes, weight = GEOMETRIES[name]
    found = built(graph(X, f"{weight} w", {"y": f"@ = ConvTranspose <{attributes}> (x, w)"}))
    assert kernels_of(found) == {"conv_transpose2d": 1}


@pytest.mark.tvm
def test_bias_residual_and_activation_are_fused() -> None:
    statement = "@t = ConvTranspose <strides = [2,2]> (x, w, b) @s = Add (@t, r) @ = Relu (@s)"
    original = graph(f"{X}, float[2,6,14,12] r", "float[8,6,2,2] w, float[6] b", {"y": statement})
    (layer,) = built(original).layers
    assert layer.op == "conv_transpose2d"
    assert layer.workload is not None
    assert layer.workload.epilogue == ("bias", "residual", "relu")


@pytest.mark.tvm
def test_a_normalization_is_folded() -> None:
    weights = "float[8,6,2,2] w, float[6] s, float[6] b, float[6] m, float[6] v"
    statement = (
        "@t = ConvTranspose <strides = [2,2]> (x, w) @n = BatchNormalization (@t, s, b, m, v) @ = HardSwish (@n)"
    )
    (layer,) = built(graph(X, weights, {"y": statement}, v=np.linspace(0.5, 2, 6))).layers
    assert layer.workload is not None
    assert layer.workload.epilogue == ("bias", "hard_swish")


@pytest.mark.tvm
@pytest.mark.parametrize("groups", [1, 2])
def test_stride_one_is_a_convolution(groups: int) -> None:
    statement = f"@t = ConvTranspose <pads = [1,0,1,2], dilations = [1,2], group = {groups}> (x, w, b) @ = Relu (@t)"
    found = built(graph(X, f"float[8,{6 // groups},3,2] w, float[6] b", {"y": statement}))
    assert kernels_of(found) == {"conv2d": 1}


@pytest.mark.tvm
@pytest.mark.parametrize(
    ("attributes", "weight"),
    [
        ('strides = [2,2], auto_pad = "SAME_UPPER"', "float[8,6,1,1]"),
        ("strides = [2,2], group = 8", "float[8,1,2,2]"),
        ("strides = [2,2,2]", "float[8,4,2,2,2]"),
    ],
    ids=["a size that is not agreed", "each channel alone", "three axes"],
)
def test_others_are_generated_code(attributes: str, weight: str) -> None:
    inputs = "float[1,8,3,4,5] x" if "2,2,2" in weight else X
    found = built(graph(inputs, f"{weight} w", {"y": f"@ = ConvTranspose <{attributes}> (x, w)"}))
    assert kernels_of(found) == {}


@pytest.mark.tvm
def test_one_program_serves_many_sizes() -> None:
    statement = "@c = ConvTranspose <strides = [2,2], pads = [1,1,1,1]> (x, w, b) @ = Relu (@c)"
    original = graph("float[1,8,h,w] x", "float[8,6,4,4] w, float[6] b", {"y": statement})
    original.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "columns"
    found = compiler.build(original, {"x": (1, 8, range(2, 20), range(2, 20))}, threads=1)
    assert isinstance(found, compiler.RangedModel)
    for shape in ((1, 8, 2, 2), (1, 8, 7, 19), (1, 8, 19, 3)):
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        assert_answers(found, original, {"x": x})
    assert oracle.run(original, {"x": np.zeros((1, 8, 3, 3), np.float32)})[0].shape == (1, 6, 6, 6)
