"""Networks over images of one and of three axes run on the kernels for two axes, with their right answers."""

from __future__ import annotations

import numpy as np
import pytest

import compiler
from tests.compiler.models import assert_answers, built, graph, kernels_of

ONE = "float[1,4,40] x"
# A U-Net: two levels, with a skip connection and a transposed convolution.
UNET = (
    "@a = Conv <pads = [2,2]> (x, w1, b1) @an = BatchNormalization (@a, s, t, m, v) @ar = Relu (@an)"
    " @p = MaxPool <kernel_shape = [2], strides = [2]> (@ar)"
    " @c = Conv <pads = [1,1]> (@p, w2) @cr = Relu (@c) @d = Conv <pads = [1,1]> (@cr, w3) @e = Add (@d, @cr)"
    " @er = Relu (@e) @u = ConvTranspose <strides = [2]> (@er, w4, b1) @k = Concat <axis = 1> (@ar, @u)"
    " @ = Conv (@k, w5)"
)
UNET_WEIGHTS = (
    "float[8,4,5] w1, float[8] b1, float[8] s, float[8] t, float[8] m, float[8] v, float[16,8,3] w2, float[16,16,3] w3,"
    " float[16,8,2] w4, float[3,16,1] w5"
)


@pytest.mark.tvm
def test_a_network_over_one_axis() -> None:
    found = built(graph(ONE, UNET_WEIGHTS, {"y": UNET}, v=np.linspace(0.5, 2, 8)))
    assert kernels_of(found) == {"conv2d": 4, "max_pool2d": 1, "conv_transpose2d": 1}
    epilogues = {layer.workload.epilogue for layer in found.layers if layer.workload is not None}
    assert ("residual", "relu") in epilogues
    assert ("bias", "relu") in epilogues


@pytest.mark.tvm
def test_one_program_serves_many_lengths() -> None:
    original = graph("float[1,4,l] x", UNET_WEIGHTS, {"y": UNET}, v=np.linspace(0.5, 2, 8))
    found = compiler.build(original, {"x": (1, 4, range(8, 65, 2))}, threads=1)
    assert {layer.op for layer in found.layers} == {"conv2d", "max_pool2d", "conv_transpose2d"}
    for length in (8, 22, 64):
        x = np.random.default_rng(length).standard_normal((1, 4, length), np.float32)
        assert_answers(found, original, {"x": x})


@pytest.mark.tvm
def test_a_classifier_over_one_axis_with_a_recurrent_layer() -> None:
    statement = (
        "@c = Conv <strides = [2], pads = [1,1]> (x, w, b) @r = Relu (@c) @s = Transpose <perm = [2,0,1]> (@r)"
        " @h, @l, @m = LSTM <hidden_size = 5> (@s, k, q) @f = Squeeze (@l, first) @ = MatMul (@f, d)"
    )
    weights = "float[8,4,3] w, float[8] b, float[1,20,8] k, float[1,20,5] q, int64[1] first, float[5,3] d"
    found = built(graph(ONE, weights, {"y": statement}, first=np.array([0])))
    assert kernels_of(found) == {"conv2d": 1, "recurrent": 1, "dense": 1}


@pytest.mark.tvm
def test_a_network_over_three_axes() -> None:
    statement = (
        "@a = Conv <pads = [1,1,1,1,1,1]> (x, w1, b) @ar = Relu (@a)"
        " @p = MaxPool <kernel_shape = [2,2,2], strides = [2,2,2]> (@ar)"
        " @c = Conv <pads = [1,1,1,1,1,1], strides = [2,1,1]> (@p, w2) @cr = Relu (@c) @g = GlobalAveragePool (@cr)"
        " @f = Flatten (@g) @ = MatMul (@f, d)"
    )
    weights = "float[8,2,3,3,3] w1, float[8] b, float[12,8,3,3,3] w2, float[12,3] d"
    found = built(graph("float[1,2,6,9,8] x", weights, {"y": statement}))
    assert kernels_of(found)["conv2d"] == 2


@pytest.mark.tvm
@pytest.mark.parametrize("attributes", ["pads = [2,0,2,0]", "strides = [2,1], dilations = [2,1]", "group = 8"])
def test_images_of_one_column_run_as_images_of_one_row(attributes: str) -> None:
    channels = 1 if "group" in attributes else 8
    statement = f"@c = Conv <{attributes}> (x, w, b) @ = Relu (@c)"
    found = built(graph("float[2,8,60,1] x", f"float[16,{channels},5,1] w, float[16] b", {"y": statement}))
    assert kernels_of(found) == {"conv2d": 1}


@pytest.mark.tvm
def test_images_that_may_have_one_column() -> None:
    original = graph("float[1,8,h,l] x", "float[16,8,3,1] w", {"y": "@ = Conv <pads = [1,0,1,0]> (x, w)"})
    original.graph.input[0].type.tensor_type.shape.dim[3].dim_param = "columns"
    found = compiler.build(original, {"x": (1, 8, range(2, 30), range(1, 20))}, threads=1)
    for shape in ((1, 8, 2, 1), (1, 8, 29, 1), (1, 8, 7, 19), (1, 8, 29, 2), (1, 8, 29, 1)):
        assert_answers(found, original, {"x": np.random.default_rng(0).standard_normal(shape, np.float32)})


@pytest.mark.tvm
@pytest.mark.parametrize("shape", ["1,4,40", "2,4,9,7"])
def test_the_largest_of_all_pixels_is_a_pooling(shape: str) -> None:
    kernel = "float[8,4,3]" if shape.count(",") == 2 else "float[8,4,3,3]"
    found = built(graph(f"float[{shape}] x", f"{kernel} w", {"y": "@c = Conv (x, w) @ = GlobalMaxPool (@c)"}))
    assert kernels_of(found) == {"conv2d": 1, "max_pool2d": 1}
