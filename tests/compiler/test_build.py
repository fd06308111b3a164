"""Compiled models compute the same outputs as ONNX Runtime: layers of every kind, and nodes that are left to TVM."""

from __future__ import annotations

import re
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import compiler
from compiler.workloads.workload import ACTIVATIONS as KERNEL_ACTIVATIONS
from graph_passes.patterns.activations import ACTIVATIONS
from tests.compiler.models import built, graph, kernels_of, model
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm


def activation(name: str, x: str) -> str:
    """Returns statements that compute an activation of ``x`` with given attributes."""
    body = ACTIVATIONS[name].body
    for attribute, number in {"min": -0.5, "max": 0.75, "alpha": 0.2, "beta": 0.4}.items():
        body = body.replace(f"@{attribute}", str(number))
    own = set(re.findall(r"(\w+) = [A-Z]", body)) - {"y"}
    body = re.sub(rf"\b({'|'.join(own)})\b", r"@_\1", body) if own else body
    return re.sub(r"\by\b", "@", re.sub(r"\bx\b", x, body))


@pytest.mark.parametrize("threads", [1, 2])
def test_convolutions(threads: int) -> None:
    found = built(
        graph(
            "float[2,8,9,7] x, float[8,8,3,3] given",
            "float[12,8,3,3] w, float[12] b, float[12,8,1,1] point, float[8,1,3,3] each, float[16,1,3,3] twice,"
            " float[8,4,3,3] halves, float[12,8,1,3] wide, float[1] one",
            {
                "plain": "@ = Conv (x, w)",
                "biased": "@ = Conv <pads = [1,1,1,1]> (x, w, b)",
                "strided": "@ = Conv <pads = [0,1,2,0], strides = [2,3]> (x, w, b)",
                "dilated": "@ = Conv <pads = [2,2,2,2], dilations = [2,2]> (x, w)",
                "same_upper": '@ = Conv <auto_pad = "SAME_UPPER", strides = [2,2]> (x, w)',
                "same_lower": '@ = Conv <auto_pad = "SAME_LOWER"> (x, wide)',
                "valid": '@ = Conv <auto_pad = "VALID"> (x, w)',
                "pointwise": "@ = Conv (x, point, b)",
                "pointwise_strided": "@ = Conv <strides = [2,2]> (x, point, b)",
                "pointwise_padded": "@ = Conv <pads = [1,1,1,1]> (x, point, b)",
                "depthwise": "@ = Conv <group = 8, pads = [1,1,1,1]> (x, each)",
                "depthwise_strided": "@ = Conv <group = 8, strides = [2,1], dilations = [1,2], pads = [0,1,2,3]>"
                " (x, each)",
                "depthwise_twice": "@ = Conv <group = 8> (x, twice)",
                "grouped": "@ = Conv <group = 2, pads = [1,1,1,1]> (x, halves)",
                "residual": "@a = Conv <group = 2, pads = [1,1,1,1]> (x, halves) @b = Add (x, @a) @ = Relu (@b)",
                "given_weight": "@ = Conv (x, given)",
            },
        ),
        threads=threads,
    )
    assert kernels_of(found) == {"conv2d": 15}


def test_activations_after_convolutions() -> None:
    """Generated code computes the activations that the kernels do not support."""
    statements = {name: f"@x = Conv <pads = [1,1,1,1]> (x, w, b) {activation(name, '@x')}" for name in ACTIVATIONS}
    found = built(graph("float[1,4,6,5] x", "float[8,4,3,3] w, float[8] b, float[8,1,1] slope", statements))
    assert kernels_of(found) == {"conv2d": len(ACTIVATIONS)}
    assert {layer.attributes["activation"] for layer in found.layers} == {*KERNEL_ACTIVATIONS, None}


def test_activations_after_products() -> None:
    statements = {name: f"@x = Gemm (x, w, b) {activation(name, '@x')}" for name in ACTIVATIONS}
    residual = "@m = MatMul (x, w) @n = Add (@m, b) @x = Add (@n, r) " + activation("gelu_tanh", "@x")
    found = built(
        graph(
            "float[5,6] x, float[5,7] r",
            "float[6,7] w, float[7] b, float[7] slope",
            {**statements, "residual": residual},
        )
    )
    assert kernels_of(found) == {"dense": len(ACTIVATIONS) + 1}


def test_gemm() -> None:
    found = built(
        graph(
            "float[5,6] x, float[6,5] xt, float[6,7] given, float[7] given_b",
            "float[6,7] w, float[7,6] wt, float s, float[1] one, float[7] n, float[1,7] row, float[5,1] column,"
            " float[5,7] whole",
            {
                "plain": "@ = Gemm (x, w)",
                "scaled": "@ = Gemm <alpha = 0.5, beta = 3.0> (x, w, n)",
                "without": "@ = Gemm <alpha = 0.5, beta = 0.0> (x, w, n)",
                "trans_b": "@ = Gemm <transB = 1, alpha = 2.0> (x, wt, row)",
                "trans_a": "@ = Gemm <transA = 1> (xt, w, n)",
                "trans_both": "@ = Gemm <transA = 1, transB = 1, beta = 0.5> (xt, wt, n)",
                "scalar": "@ = Gemm <beta = 2.0> (x, w, s)",
                "one_number": "@ = Gemm (x, w, one)",
                "column_bias": "@ = Gemm <beta = 2.0> (x, w, column)",
                "whole_bias": "@ = Gemm (x, w, whole)",
                "given_weight": "@ = Gemm (x, given, n)",
                "given_bias": "@ = Gemm (x, w, given_b)",
            },
        )
    )
    assert kernels_of(found) == {"dense": 6}


def test_matmul() -> None:
    found = built(
        graph(
            "float[6] vector, float[5,6] matrix, float[2,5,6] three, float[2,3,5,6] four, float[6,7] given",
            "float[6,7] w, float[6] v, float[2,6,7] stacked, float[4,5] left, float[7] b",
            {
                "two_axes": "@ = MatMul (matrix, w)",
                "three_axes": "@ = MatMul (three, w)",
                "four_axes": "@m = MatMul (four, w) @a = Add (@m, b) @ = Relu (@a)",
                "one_axis": "@ = MatMul (vector, w)",
                "by_vector": "@ = MatMul (three, v)",
                "dot": "@ = MatMul (vector, v)",
                "stacked_weights": "@ = MatMul (three, stacked)",
                "given_weight": "@ = MatMul (four, given)",
                "from_the_left": "@ = MatMul (left, matrix)",
                "itself": "@t = Transpose <perm = [1,0]> (matrix) @ = MatMul (matrix, @t)",
            },
        )
    )
    assert kernels_of(found) == {"dense": 3}


@pytest.mark.parametrize(("opset", "kernels"), [(11, 6), (13, 3)])
def test_softmax(opset: int, kernels: int) -> None:
    """Before opset 13, Softmax flattens the axes from ``axis`` on."""
    statements = {
        "default": "@ = Softmax (x)",
        "last": "@ = Softmax <axis = 3> (x)",
        "from_the_end": "@ = Softmax <axis = -1> (x)",
        "second": "@ = Softmax <axis = 1> (x)",
        "first": "@ = Softmax <axis = 0> (x)",
        "middle": "@ = Softmax <axis = -2> (x)",
        "matrix": "@r = Relu (m) @ = Softmax <axis = 1> (@r)",
    }
    found = built(graph("float[2,3,4,5] x, float[3,7] m", "", statements, opset=opset))
    assert kernels_of(found)["softmax"] >= kernels


def test_layer_normalization() -> None:
    found = built(
        graph(
            "float[2,3,8] x",
            "float[8] g, float[8] b, float[3,8] g2, float[3,8] b2, float[1] one",
            {
                "plain": "@ = LayerNormalization (x, g, b)",
                "no_bias": "@ = LayerNormalization <epsilon = 0.1> (x, g)",
                "last": "@ = LayerNormalization <axis = 2> (x, g, b)",
                "two_axes": "@ = LayerNormalization <axis = 1> (x, g2, b2)",
                "broadcast": "@ = LayerNormalization (x, one)",
                "broadcast_both": "@ = LayerNormalization (x, one, one)",
                "other_outputs_unread": "@, @m, @v = LayerNormalization <axis = -1> (x, g, b)",
            },
        )
    )
    assert kernels_of(found) == {"layer_norm": 7}


def test_means() -> None:
    found = built(
        graph(
            "float[2,8,5,7] x, float[3,8] m",
            "float[8,8,1,1] w, int64[2] space, int64[1] channels, int64[2] swapped",
            {
                "spatial": "@c = Conv (x, w) @ = ReduceMean (@c, space)",
                "flat": "@c = Conv (x, w) @ = ReduceMean <keepdims = 0> (@c, swapped)",
                "global": "@c = Conv (x, w) @ = GlobalAveragePool (@c)",
                "over_channels": "@c = Conv (x, w) @ = ReduceMean (@c, channels)",
                "all": "@c = Conv (x, w) @ = ReduceMean (@c)",
                "of_a_matrix": "@ = ReduceMean (m, channels)",
            },
            space=np.array([2, 3]),
            swapped=np.array([-1, -2]),
            channels=np.array([1]),
        )
    )
    assert kernels_of(found) == {"conv2d": 5, "avg_pool2d": 3}


def test_reductions() -> None:
    """In generated code, with lengths that are not multiples of the vector length."""
    statements = {
        "sums": "@a = Sigmoid (x) @ = ReduceSum (@a, space)",
        "largest": "@ = ReduceMax (x, space)",
        "global_average": "@ = GlobalAveragePool (x)",
        "of_a_line": "@ = ReduceSum (line, last)",
    }
    given = "float[2,2,9,9] x, float[3,13] line"
    assert not built(
        graph(given, "int64[2] space, int64[1] last", statements, space=np.array([2, 3]), last=np.array([1]))
    ).layers


def test_pools() -> None:
    """After a convolution, which makes images channels-last."""
    pools = {
        "max": "MaxPool <kernel_shape = [3,3]>",
        "max_strided": "MaxPool <kernel_shape = [3,2], strides = [2,2], pads = [1,0,1,1]>",
        "max_asymmetric": "MaxPool <kernel_shape = [3,3], strides = [2,2], pads = [0,0,1,1]>",
        "max_dilated": "MaxPool <kernel_shape = [2,2], dilations = [2,3], pads = [1,1,1,1]>",
        "max_ceil": "MaxPool <kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>",
        "max_ceil_padded": "MaxPool <kernel_shape = [3,3], strides = [3,3], pads = [1,1,1,1], ceil_mode = 1>",
        "max_same": 'MaxPool <kernel_shape = [3,3], strides = [2,2], auto_pad = "SAME_UPPER">',
        "average": "AveragePool <kernel_shape = [2,2], strides = [2,2]>",
        "average_padded": "AveragePool <kernel_shape = [3,3], pads = [1,1,1,1]>",
        "average_with_pads": "AveragePool <kernel_shape = [3,3], pads = [1,0,1,2], count_include_pad = 1>",
        "average_ceil": "AveragePool <kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>",
        "average_ceil_with_pads": "AveragePool <kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1],"
        " ceil_mode = 1, count_include_pad = 1>",
        "global_max": "GlobalMaxPool",
    }
    statements = {name: f"@c = Conv (x, w) @ = {pool} (@c)" for name, pool in pools.items()}
    found = built(graph("float[2,4,10,8] x", "float[8,4,1,1] w", statements, opset=12))
    assert kernels_of(found)["max_pool2d"] == 8
    assert kernels_of(found)["avg_pool2d"] == 3
    assert kernels_of(found)["avg_pool2d_with_pads"] == 2


def test_resized_images() -> None:
    """Channels-last images between convolutions, and an image that is an input."""
    half = 'Resize <coordinate_transformation_mode = "half_pixel"'
    kinds = {
        "nearest": (f'{half}, mode = "nearest">', "scales"),
        "linear": (f'{half}, mode = "linear">', "scales"),
        "corners": ('Resize <coordinate_transformation_mode = "align_corners", mode = "linear">', "scales"),
        "asymmetric": (
            'Resize <coordinate_transformation_mode = "asymmetric", mode = "nearest", nearest_mode = "floor">',
            "scales",
        ),
        "to_sizes": (f'{half}, mode = "linear">', ", sizes"),
    }
    statements = {
        name: f"@c = Conv (x, w) @r = {resize} (@c, , {last}) @ = Conv (@r, w2)"
        for name, (resize, last) in kinds.items()
    }
    statements["alone"] = f'@ = {half}, mode = "linear"> (x, , scales)'
    found = built(
        graph(
            "float[1,4,5,6] x",
            "float[8,4,1,1] w, float[3,8,3,3] w2, float[4] scales, int64[4] sizes",
            statements,
            scales=np.array([1, 1, 2, 3]),
            sizes=np.array([1, 8, 10, 7]),
        )
    )
    assert kernels_of(found) == {"conv2d": 10}
    # Of the inputs and the outputs. No image is transposed to resize it.
    assert str(found.module).count("R.permute_dims") == 1 + len(kinds)


def test_other_outputs_of_layers() -> None:
    """The second outputs of nodes that kernels compute otherwise."""
    statements = {
        "pool": "@c = Conv (x, w) @, @i = MaxPool <kernel_shape = [2,2], strides = [2,2]> (@c)",
        "norm": "@, @m = LayerNormalization (z, g) ",
    }
    inputs = "float[1,4,8,8] x, float[3,4] z"
    original = graph(inputs, "float[8,4,1,1] w, float[4] g", statements)
    for name, kind, shape in (
        ("pooli", onnx.TensorProto.INT64, (1, 8, 4, 4)),
        ("normm", onnx.TensorProto.FLOAT, (3, 1)),
    ):
        original.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, shape))
    built(original)


@pytest.mark.parametrize("mask", [None, (1, 1, 1, 6), (2, 1, 5, 6), (1, 3, 5, 6), (6,), (5, 1)])
def test_attention(mask: tuple[int, ...] | None) -> None:
    """q, k and v with heads first, and as transposed columns of a projection."""
    hidden = "@m = Add (@s, mask) @p = Softmax <axis = -1> (@m)" if mask else "@p = Softmax <axis = -1> (@s)"
    masks: dict[str, Any] = {}
    if mask:
        masks["mask"] = np.where(np.random.default_rng(0).random(mask) < 0.3, -10000.0, 0.0)
    weights = f"int64[4] heads, int64[3] rows, float f{f', float{list(mask)} mask' if mask else ''}"

    def statements(q: str, k: str, v: str) -> str:
        return (
            f"@t = Transpose <perm = [0,1,3,2]> ({k}) @d = MatMul ({q}, @t) @s = Mul (@d, f) {hidden}"
            f" @ = MatMul (@p, {v})"
        )

    split = "".join(
        f"@h{x} = Reshape (r{x}, heads) @x{x} = Transpose <perm = [0,2,1,3]> (@h{x}) " for x in ("q", "k", "v")
    )
    join = "@o = Transpose <perm = [0,2,1,3]> (@y) @ = Reshape (@o, rows)"
    found = built(
        graph(
            "float[2,3,5,4] q, float[2,3,6,4] k, float[2,3,6,4] v, float[2,5,12] rq, float[2,6,12] rk,"
            " float[2,6,12] rv",
            weights,
            {
                "direct": statements("q", "k", "v"),
                "projected": split + re.sub(r"@(?= =)", "@y", statements("@xq", "@xk", "@xv")) + join,
                "mixed": split + statements("@xq", "k", "@xv"),
            },
            heads=np.array([2, -1, 3, 4]),
            rows=np.array([0, 0, -1]),
            f=1 / sqrt(4),
            **masks,
        )
    )
    assert kernels_of(found) == ({"attention": 3} if mask is None or mask[-1] == 6 else {})


def test_outputs_of_every_kind() -> None:
    """Inputs, constants, views and repeated values, each in separate memory."""
    original = model(
        "g (float[3,4] x) => (float[3,4] x, float[3,4] same, float[12] flat, float[3,4] k, float[12] flat_k,"
        " float[3,5] y, float[3,5] y2, float[15] flat_y) <float[3,4] k, float[4,5] w, int64[1] all>"
        "{ same = Identity (x) flat = Reshape (x, all) flat_k = Reshape (k, all) y = MatMul (x, w) y2 = Identity (y)"
        "  flat_y = Reshape (y, all) }",
        all=np.array([-1]),
    )
    found = built(original)
    inputs = oracle.random_inputs(original, seed=1)
    first = found.run(inputs)
    kept = {name: array.copy() for name, array in first.items()}
    for name, array in first.items():
        assert not any(np.shares_memory(array, other) for n, other in [*first.items(), ("", inputs["x"])] if n != name)
        array[...] = np.nan
    for name, array in found.run(inputs).items():
        np.testing.assert_array_equal(array, kept[name])


def test_constants_as_outputs() -> None:
    """Sizes that passes compute, and the attributes of Constant nodes."""
    found = built(
        model(
            "g (float[3,4] x) => (int64[2] size, float f, float[2] fs, int64 i, int64[3] ints, float[3,4] y)"
            "{ size = Shape (x) f = Constant <value_float = 0.5> () fs = Constant <value_floats = [1.5, 2.5]> ()"
            "  i = Constant <value_int = 3> () ints = Constant <value_ints = [1, 2, 3]> () y = Relu (x) }"
        )
    )
    assert [spec.dtype for spec in found.outputs] == ["int64", "float32", "float32", "int64", "int64", "float32"]


def test_models_without_any_kernel() -> None:
    assert not built(model("g (float[3,4] x) => (float[3,4] y) { y = Identity (x) }")).layers
    assert not built(model("g (float x) => (float y) { a = Exp (x) y = Neg (a) }")).layers


def test_names_that_tvm_changes() -> None:
    """Names that TVM changes to the same name, and inputs in another order."""
    original = model("g (float[3,4] x_1, float[3,4] x_2) => (float[3,4] y) { y = Sub (x_1, x_2) }")
    original.graph.input[0].name, original.graph.input[1].name = original.graph.node[0].input[:] = ["a/b", "a.b"]
    original.graph.output[0].name = original.graph.node[0].output[0] = "a:b"
    built(original)


@pytest.mark.parametrize("dtype", ["float16", "double", "int8", "int32", "int64", "uint8", "bool"])
def test_other_types_are_left_to_tvm(dtype: str) -> None:
    name = {"double": "float64"}.get(dtype, dtype)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2 if dtype == "bool" else 4, (3, 4)).astype(name)
    operator = "y = Not (x)" if dtype == "bool" else "y = Where (c, x, w)" if "int8" in dtype else "y = Mul (x, w)"
    shapes = f"{dtype}[3,4] w, bool[3,4] c"
    arrays: dict[str, Any] = {"w": rng.integers(0, 4, (3, 4)), "c": rng.integers(0, 2, (3, 4))}
    found = built(model(f"g ({dtype}[3,4] x) => ({dtype}[3,4] y) <{shapes}> {{ {operator} }}", **arrays), {"x": x})
    assert found.inputs[0].dtype == name
    assert not found.layers


def test_products_of_other_types() -> None:
    rng = np.random.default_rng(0)
    half = model("g (float16[3,40] x) => (float16[3,5] y) <float16[40,5] w> { y = MatMul (x, w) }")
    x = rng.standard_normal((3, 40))
    exact = x.astype(np.float16).astype(np.float64) @ onnx.numpy_helper.to_array(half.graph.initializer[0])
    y = compiler.build(half, threads=1).run({"x": x.astype(np.float16)})["y"]
    # Sums of 40 products in float16, each term and each sum rounded.
    assert np.abs(y - exact).max() <= 40 * np.finfo(np.float16).eps / 2 * np.abs(exact).max()
    double = model("g (double[3,4] x) => (double[3,5] y) <double[4,5] w> { y = MatMul (x, w) }")
    x = rng.standard_normal((3, 4))
    y = compiler.build(double, threads=1).run({"x": x})["y"]
    np.testing.assert_allclose(y, oracle.run(double, {"x": x})[0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["bfloat16", "string"])
def test_types_that_numpy_does_not_support(dtype: str) -> None:
    text = f"g ({dtype}[3,4] x) => ({dtype}[3,4] y) {{ y = Identity (x) }}"
    with pytest.raises(ValueError, match=r"^cannot compile Identity \(.*: it reads values of an unsupported type$"):
        compiler.build(model(text), threads=1, fallback=None)


def test_a_file_with_external_data(tmp_path: Path) -> None:
    """A weight that no kernel packs is still in its file when TVM imports the model."""
    original = model("g (float[2, 3] x) => (float[2, 3] y) <float[2, 3] w> { y = Mul (x, w) }")
    (weight,) = original.graph.initializer
    expected = onnx.numpy_helper.to_array(weight).copy()
    file = tmp_path / "model.onnx"
    onnx.save(original, file, save_as_external_data=True, size_threshold=0, location="weights")
    x = np.array([[1, -2, 3], [0, 0.5, 1]], np.float32)
    assert np.array_equal(compiler.build(file, threads=1).run({"x": x})["y"], x * expected)


@pytest.mark.parametrize(("sizes", "window"), [((20,), (30,)), ((8, 20), (3, 39))])
def test_a_window_larger_than_its_input_is_rejected(sizes: tuple[int, ...], window: tuple[int, ...]) -> None:
    dims = ",".join("hw"[: len(sizes)])
    weight = f"float[2,1,{','.join(map(str, window))}] w"
    original = graph(f"float[n,1,{dims}] x", weight, {"y": "@ = Conv (x, w)"})
    with pytest.raises(ValueError, match=r"^cannot compile Conv.*the window is larger than the input$"):
        compiler.build(original, {"x": (1, 1, *sizes)})
