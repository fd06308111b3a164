"""Forms of operators that a recognizer must distinguish: what no kernel computes is left to generated code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import compiler
from tests.compiler.lowering.test_lower import select
from tests.compiler.models import assert_answers, graph, kernels_of
from tests.graph_passes import oracle


def layers(inputs: str, weights: str, statement: str, opset: int = 18, **arrays: np.ndarray) -> list[str]:
    return [layer.op for layer in select(graph(inputs, weights, {"y": statement}, opset, **arrays))[1]]


def stated(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """Returns the model with another shape stated for its output."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    dims = found.graph.output[0].type.tensor_type.shape
    del dims.dim[:]
    for size in shape:
        dims.dim.add().dim_value = size
    return found


CONTRADICTED = {
    "dense": ("float[2,3,4] x", "float[4,5] w", "@ = MatMul (x, w)", (6, 5)),
    "layer_norm": ("float[2,3,4] x", "float[4] g", "@ = LayerNormalization (x, g)", (6, 4)),
    "softmax": ("float[2,3,4] x", "", "@ = Softmax (x)", (2, 12)),
}


@pytest.mark.parametrize("op", CONTRADICTED)
def test_a_stated_shape_that_contradicts_the_inputs(op: str) -> None:
    inputs, weights, statement, shape = CONTRADICTED[op]
    model = graph(inputs, weights, {"y": statement})
    assert [layer.op for layer in select(model)[1]] == [op]
    # The inferred shape replaces the stated one.
    (layer,) = select(stated(model, shape))[1]
    assert layer.output_shape == select(model)[1][0].output_shape


NORMALIZATIONS = {
    "of one axis": ("LayerNormalization", "float[4] g, float[4] b", "(x, g, b)", True),
    "without a bias": ("LayerNormalization", "float[4] g", "(x, g)", True),
    "a scalar scale": ("LayerNormalization", "float[1] g", "(x, g)", True),
    "a scale of all axes": ("LayerNormalization", "float[1,1,4] g", "(x, g)", True),
    "the last axis, from the front": ("LayerNormalization", "float[4] g", "<axis = 2> (x, g)", True),
    "two axes": ("LayerNormalization", "float[3,4] g", "<axis = -2> (x, g)", True),
    "a scale for each row": ("LayerNormalization", "float[3,1] g", "(x, g)", False),
}


@pytest.mark.parametrize("what", NORMALIZATIONS)
def test_layer_normalizations(what: str) -> None:
    op, weights, rest, computed = NORMALIZATIONS[what]
    assert layers("float[2,3,4] x", weights, f"@ = {op} {rest}") == (["layer_norm"] if computed else [])


@pytest.mark.parametrize("op", ["LayerNormalization", "RMSNormalization"])
def test_a_normalization_in_less_precision(op: str) -> None:
    """stash_type 16 is bfloat16, 1 is float32."""
    for kind in (1, 16):
        opset = 23 if op == "RMSNormalization" else 18
        found = layers("float[3,4] x", "float[4] g", f"@ = {op} <stash_type = {kind}> (x, g)", opset)
        assert bool(found) == (kind == 1)


def test_other_outputs_of_a_layer_normalization() -> None:
    used = graph("float[3,4] x", "float[4] g", {"y": "@, m, i = LayerNormalization (x, g)", "z": "@ = Neg (m)"}, 17)
    assert not select(used)[1]


@pytest.mark.parametrize(("mask", "computed"), [((1, 1, 6, 6), True), ((1, 2, 1, 6), True), ((3, 2, 6, 6), False)])
def test_masks_of_attention(mask: tuple[int, ...], computed: bool) -> None:
    """A mask with a larger batch makes the output larger."""
    shape = ",".join(map(str, mask))
    statement = (
        "t = Transpose <perm = [0,1,3,2]> (k) s = MatMul (q, t) f = Mul (s, scale) h = Add (f, m)"
        " p = Softmax <axis = -1> (h) @ = MatMul (p, v)"
    )
    inputs = f"float[1,2,6,8] q, float[1,2,6,8] k, float[1,2,6,8] v, float[{shape}] m"
    found = layers(inputs, "float scale", statement, scale=np.array(0.3, np.float32))
    assert ("attention" in found) == computed


def numbers(*values: int) -> str:
    return f"[{','.join(map(str, values))}]"


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, onnx.ModelProto]:
    """A convolution or pooling with any attributes behind a convolution, and the kernel that may compute it."""
    op = draw(st.sampled_from(["Conv", "MaxPool", "AveragePool"]))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    strides = draw(st.tuples(*[st.integers(1, min(3, size)) for size in kernel]))
    attributes = [f"kernel_shape = {numbers(*kernel)}", f"strides = {numbers(*strides)}"]
    auto = draw(st.sampled_from(["", "", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    same = auto.startswith("SAME")
    # ONNX Runtime has no SAME of a dilated convolution, and that of a dilated pooling is not the standard's.
    if not same and draw(st.booleans()):
        attributes.append(f"dilations = {numbers(*draw(st.tuples(st.integers(1, 2), st.integers(1, 2))))}")
    if auto:
        attributes.append(f'auto_pad = "{auto}"')
    if auto in ("", "NOTSET"):
        pads = draw(st.tuples(*[st.integers(0, kernel[axis % 2] - 1) for axis in range(4)]))
        attributes.append(f"pads = {numbers(*pads)}")
    if op != "Conv" and not same and draw(st.booleans()):
        attributes.append("ceil_mode = 1")
    if op == "AveragePool" and draw(st.booleans()):
        attributes.append("count_include_pad = 1")
    weights = "float[4,4,1,1] u"
    if op == "Conv":
        groups = draw(st.sampled_from([1, 2, 4]))
        attributes.append(f"group = {groups}")
        weights += f", float[{2 * groups},{4 // groups},{kernel[0]},{kernel[1]}] w"
    h, w = draw(st.tuples(st.integers(7, 12), st.integers(7, 12)))
    call = f"@ = {op} <{', '.join(attributes)}> (c{', w' if op == 'Conv' else ''})"
    model = graph(f"float[1,4,{h},{w}] x", weights, {"y": f"c = Conv (x, u) {call}"}, 22)
    return op, model


@pytest.mark.tvm
@settings(max_examples=25, deadline=None)
@given(case=windows())
def test_windows_of_any_form(case: tuple[str, onnx.ModelProto]) -> None:
    op, model = case
    inputs = oracle.random_inputs(model, seed=1)
    assume(all(dim.dim_value for dim in model.graph.output[0].type.tensor_type.shape.dim))
    found = compiler.build(model, threads=1, fast_algorithms=False)
    if op == "Conv":
        assert kernels_of(found) == {"conv2d": 2}
    assert_answers(found, model, inputs)


def test_a_window_larger_than_the_padded_image() -> None:
    """With ceil_mode, ONNX Runtime computes one output, of the part of the window inside."""
    statement = (
        "c = Conv (x, u) @ = MaxPool <kernel_shape = [1,3], strides = [1,3], dilations = [1,3], ceil_mode = 1> (c)"
    )
    assert layers("float[1,4,8,6] x", "float[4,4,1,1] u", statement) == ["conv2d"]


GEMMS = {
    "alpha and beta": ("float[5,4] w, float[5] b", "<alpha = 0.5, beta = -2.0, transB = 1> (x, w, b)"),
    "a scalar bias": ("float[4,5] w, float b", "<beta = 0.25> (x, w, b)"),
    "a bias of one row": ("float[4,5] w, float[1,5] b", "(x, w, b)"),
    "a bias of one element": ("float[4,5] w, float[1,1] b", "(x, w, b)"),
    "no bias": ("float[4,5] w", "<beta = 3.0> (x, w)"),
    "one column": ("float[4,1] w, float[1] b", "(x, w, b)"),
    "one column and a bias of each row": ("float[4,1] w, float[3,1] b", "(x, w, b)"),
    "as many rows as columns and a bias of each row": ("float[4,3] w, float[3,1] b", "(x, w, b)"),
    "transposed": ("float[3,5] w", "<transA = 1> (x, w)"),
}


@pytest.mark.tvm
@pytest.mark.parametrize("what", GEMMS)
def test_gemms(what: str) -> None:
    weights, rest = GEMMS[what]
    model = graph("float[3,4] x", weights, {"y": f"@ = Gemm {rest}"})
    assert_answers(compiler.build(model, threads=1), model, oracle.random_inputs(model, seed=1))
