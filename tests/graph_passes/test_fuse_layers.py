"""Layers that become one call: structure, outputs, and layers that are not fused."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest

import graph_passes
from compiler.build import passes_of_build
from graph_passes.fuse_layers import FuseLayers
from graph_passes.patterns.activations import ACTIVATIONS
from graph_passes.patterns.layers import OPERATORS, FusedLayer
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass

# The forms of each activation of h. They read the constants below.
FORMS: dict[str, list[str]] = {
    "relu": ["y = Relu (h)", "y = Max (h, zero)", "y = Max (zero, h)", "y = Clip (h, zero)"],
    "relu6": ["y = Clip (h, zero, six)", "r = Relu (h) y = Min (six, r)", "r = Min (h, six) y = Relu (r)"],
    "clip": ["y = Clip (h, zero, three)", "y = Clip (h, , six)"],
    "leaky_relu": [
        "y = LeakyRelu <alpha: float = 0.2> (h)",
        "y = PRelu (h, half)",
        "m = Mul (h, half) y = Max (h, m)",
        "r = Relu (h) n = Neg (h) p = Relu (n) s = Mul (p, other) y = Sub (r, s)",
    ],
    "prelu": ["y = PRelu (h, slope)"],
    "sigmoid": [
        "y = Sigmoid (h)",
        "n = Neg (h) e = Exp (n) p = Add (e, one) y = Div (one, p)",
        "n = Neg (h) e = Exp (n) p = Add (one, e) y = Reciprocal (p)",
    ],
    "tanh": ["y = Tanh (h)"],
    "silu": ["s = Sigmoid (h) y = Mul (h, s)", "s = Sigmoid (h) y = Mul (s, h)"],
    "hard_sigmoid": [
        "y = HardSigmoid <alpha: float = 0.3, beta: float = 0.4> (h)",
        "y = HardSigmoid (h)",
        "p = Add (h, three) c = Clip (p, zero, six) y = Div (c, six)",
    ],
    "hard_swish": [
        "y = HardSwish (h)",
        "p = Add (h, three) c = Clip (p, zero, six) m = Mul (h, c) y = Div (m, six)",
        "p = Add (three, h) c = Clip (p, zero, six) m = Div (c, six) y = Mul (m, h)",
        "p = Add (h, three) c = Clip (p, zero, six) m = Mul (c, sixth) y = Mul (h, m)",
        "s = HardSigmoid <alpha: float = 0.16666667, beta: float = 0.5> (h) y = Mul (s, h)",
    ],
    "gelu": [
        "d = Div (h, root) e = Erf (d) p = Add (e, one) m = Mul (h, p) y = Mul (m, half)",
        "m = Mul (h, half) d = Div (h, root) e = Erf (d) p = Add (one, e) y = Mul (m, p)",
        "d = Mul (inverse, h) e = Erf (d) p = Add (one, e) m = Mul (half, p) y = Mul (m, h)",
    ],
    "gelu_tanh": [
        """c = Pow (h, three) d = Mul (c, cubic) s = Add (h, d) t = Mul (s, rate) u = Tanh (t) p = Add (u, one)
        m = Mul (h, half) y = Mul (m, p)""",
        """q = Mul (h, h) c = Mul (q, h) d = Mul (cubic, c) s = Add (d, h) t = Mul (rate, s) u = Tanh (t) p = Add (one,
        u) m = Mul (half, p) y = Mul (h, m)""",
    ],
}
CONSTANTS = {
    "zero": 0.0, "half": 0.5, "one": 1.0, "three": 3.0, "six": 6.0, "sixth": 1 / 6, "root": 2**0.5, "inverse": 2**-0.5,
    "cubic": 0.044715, "rate": (2 / np.pi) ** 0.5, "other": 0.71, "slope": np.linspace(-0.5, 1.5, 6).reshape(6, 1, 1),
}  # fmt: skip


def activated(form: str, convolution: str = "Conv (x, w, b)", opset: int = 18) -> onnx.ModelProto:
    words = form.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: number for name, number in CONSTANTS.items() if name in words}
    declared = "".join(f", float{[*np.shape(number)] or ''} {name}" for name, number in used.items())
    return model(
        f"""g (float[1,4,5,5] x) => (float[1,6,5,5] y) <float[6,4,1,1] w, float[6] b{declared}> {{
            h = {convolution}
            {form}
        }}""",
        opset,
        **used,
    )


@pytest.mark.parametrize(
    ("activation", "form"), [(activation, form) for activation, forms in FORMS.items() for form in forms]
)
def test_forms_of_activations(activation: str, form: str) -> None:
    optimized = run_pass(activated(form), "fuse_layers")
    assert operators(optimized.model) == {f"Conv_bias_{activation}": 1}
    assert optimized.model.graph.output[0].name == "y"


@pytest.mark.parametrize("form", [form for forms in FORMS.values() for form in forms])
def test_activations_keep_nan_and_infinities(form: str) -> None:
    """A convolution with a single weight of 1 passes its input on.

    ONNX Runtime bounds a Clip without bounds at the largest float32, and a Relu not at all.
    """
    largest = np.finfo(np.float32).max
    used = {name: number for name, number in CONSTANTS.items() if name in form.replace(",", " ").split()}
    used |= {name: CONSTANTS[name] for name in CONSTANTS if f"({name}" in form or f"{name})" in form}
    used |= {"slope": 0.25} if "slope" in used else {}  # of the one channel
    declared = "".join(f", float {name}" for name in used)
    original = model(
        f"g (float[1,1,1,5] x) => (float[1,1,1,5] y) <float[1,1,1,1] w{declared}> {{ h = Conv (x, w) {form} }}",
        **used,
        w=1.0,
    )
    inputs = {"x": np.array([np.nan, np.inf, -np.inf, 1, -1], np.float32).reshape(1, 1, 1, 5)}
    (want,) = oracle.run(original, inputs)
    for passes in (["fuse_layers"], passes_of_build()):
        (got,) = oracle.run(graph_passes.optimize(original, passes=passes).model, inputs)
        bounded = [np.where(np.abs(values) >= largest, np.inf * np.sign(values), values) for values in (got, want)]
        np.testing.assert_allclose(*bounded, rtol=1e-6, atol=1e-7)


def test_every_activation_has_a_form_here() -> None:
    assert FORMS.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize(
    "form",
    [
        "p = Add (h, three) c = Clip (p, zero, six) m = Mul (h, c) y = Div (m, three)",  # twice a hard swish
        "d = Div (h, six) e = Erf (d) p = Add (e, one) m = Mul (h, p) y = Mul (m, half)",  # another width
        "s = Sigmoid (h) m = Mul (s, s) y = Mul (m, h)",
        "p = Add (h, one) s = Sigmoid (p) y = Mul (h, s)",
        "y = Max (h, half)",
        "y = Mul (h, one)",
        "m = Mul (h, half) y = Min (h, m)",
        "a = Abs (h) s = Add (a, h) y = Mul (s, half)",  # relu, but for -inf
        "y = Clip (h, six, zero)",
    ],
)
def test_other_functions_are_not_activations(form: str) -> None:
    original = activated(form)
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


def test_an_activation_of_what_is_read_elsewhere_stays() -> None:
    original = activated("s = Sigmoid (h) m = Mul (h, s) n = Neg (s) y = Add (m, n)")
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


def test_a_longer_form_wins() -> None:
    optimized = run_pass(activated("r = Relu (h) y = Clip (r, zero, six)"), "fuse_layers")
    assert operators(optimized.model) == {"Conv_bias_relu6": 1}


def test_old_opsets_are_not_supported() -> None:
    original = activated("y = Relu (h)", opset=16)
    optimized = run_pass(original, "fuse_layers")
    assert operators(optimized.model) == operators(original)
    assert "16 is not supported, at least 17" in remarks(optimized)


@pytest.mark.parametrize("opset", [17, 20, 21])
def test_other_opsets(opset: int) -> None:
    optimized = run_pass(activated("s = Sigmoid (h) y = Mul (h, s)", opset=opset), "fuse_layers")
    assert operators(optimized.model) == {"Conv_bias_silu": 1}


@pytest.mark.parametrize("joined", ["Add (h, x)", "Add (x, h)", "Sum (h, x)"])
def test_bias_residual_activation(joined: str) -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,2,3,3] w, float[4] b> {{
            h = Conv <group: int = 2, auto_pad: string = "SAME_UPPER"> (x, w, b)
            i = {joined}
            y = Relu (i)
        }}"""
    )
    optimized = run_pass(original, "fuse_layers")
    assert operators(optimized.model) == {"Conv_bias_residual_relu": 1}
    call = optimized.model.graph.node[0]
    assert (call.domain, list(call.input)) == ("loopwright", ["x", "w", "b", "x"])
    given = {a.name: onnx.helper.get_attribute_value(a) for a in call.attribute}
    assert given == {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 2}


def test_of_two_convolutions_that_are_added_the_later_takes_the_earlier() -> None:
    original = model(
        """g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,4,1,1] w, float[4,4,1,1] v> {
            h = Conv (x, w)
            i = Conv (x, v)
            j = Add (h, i)
            y = Relu (j)
        }"""
    )
    optimized = run_pass(original, "fuse_layers")
    assert [node.op_type for node in optimized.model.graph.node] == ["Conv", "Conv_residual_relu"]


def test_a_residual_behind_the_activation_stays() -> None:
    original = model(
        """g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,4,1,1] w> {
            h = Conv (x, w)
            i = Relu (h)
            y = Add (i, x)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv_relu": 1, "Add": 1}


@pytest.mark.parametrize("shape", ["1,4,1,1", "1,1,5,5", "5"])
def test_a_broadcast_operand_is_not_a_residual(shape: str) -> None:
    original = model(
        f"""g (float[1,4,5,5] x, float[{shape}] r) => (float[1,4,5,5] y) <float[4,4,1,1] w> {{
            h = Conv (x, w)
            y = Add (h, r)
        }}"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "Add": 1}


def test_an_answer_added_to_itself_stays() -> None:
    original = model("g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,4,1,1] w> { h = Conv (x, w) y = Add (h, h) }")
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "Add": 1}


def test_values_with_other_readers_are_not_fused() -> None:
    original = model(
        """g (float[1,4,5,5] x) => (float[1,4,5,5] y, float[1,4,5,5] h) <float[4,4,1,1] w> {
            h = Conv (x, w)
            y = Relu (h)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "Relu": 1}


@pytest.mark.parametrize("bias", ["6", "1,6"])
def test_products(bias: str) -> None:
    original = model(
        f"""g (float[2,3,4] x, float[2,3,6] r) => (float[2,3,6] y) <float[4,6] w, float[{bias}] b> {{
            h = MatMul (x, w)
            i = Add (b, h)
            j = Add (i, r)
            y = Tanh (j)
        }}"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"MatMul_bias_residual_tanh": 1}


@pytest.mark.parametrize("bias", ["3,6", "2,3,6", "1"])
def test_other_constants_are_not_a_bias(bias: str) -> None:
    original = model(
        f"g (float[2,3,4] x) => (float[2,3,6] y) <float[4,6] w, float[{bias}] b> {{ h = MatMul (x, w) y = Add (h, b) }}"
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"MatMul": 1, "Add": 1}


def test_gemm_keeps_its_attributes() -> None:
    original = model(
        """g (float[4,3] x) => (float[3,6] y) <float[6,4] w, float[6] c> {
            h = Gemm <alpha: float = 0.7, beta: float = 1.3, transA: int = 1, transB: int = 1> (x, w, c)
            y = Relu (h)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Gemm_bias_relu": 1}


@pytest.mark.parametrize("activation", ["hard_sigmoid", "leaky_relu", "clip"])
def test_numbers_of_an_activation_are_not_those_of_gemm(activation: str) -> None:
    original = model(
        f"""g (float[3,4] x) => (float[3,6] y) <float[4,6] w, float[6] c, float zero, float three> {{
            h = Gemm <alpha: float = 0.7, beta: float = 1.3> (x, w, c)
            {FORMS[activation][0]}
        }}""",
        zero=0, three=3,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == {f"Gemm_bias_{activation}": 1}


def test_half_precision_has_no_float32_constants() -> None:
    original = model(
        """g (float16[1,4,5,5] x) => (float16[1,6,5,5] y) <float16[6,4,1,1] w, float16 zero, float16 six> {
            h = Conv (x, w)
            y = Clip (h, zero, six)
        }""",
        zero=0, six=6,
    )  # fmt: skip
    optimized = graph_passes.optimize(original, passes=["fuse_layers"])
    assert operators(optimized.model) == {"Conv": 1, "Clip": 1}


def test_inlined_it_has_no_calls() -> None:
    optimized = run_pass(activated(FORMS["gelu_tanh"][0]), "fuse_layers")
    inlined = graph_passes.inline(optimized.model)
    assert not inlined.functions
    assert {node.domain for node in inlined.graph.node} == {""}
    onnx.checker.check_model(inlined, full_check=True)


DEPTHWISE = """g (float[1,4,7,7] x, float[1,6,4,4] r) => (float[1,6,4,4] y)
    <float[4,1,3,3] k, float[4] b, float[6,4,1,1] w, float[6] c, float zero, float six> {{
    h = Conv <group: int = 4, strides: ints = [2, 2], pads: ints = [1, 1, 1, 1]> (x, k, b)
    i = Clip (h, zero, six)
    j = Conv (i, w{bias})
    {end}
}}"""


@pytest.mark.parametrize(
    ("bias", "end", "name"),
    [
        ("", "y = Add (j, r)", "Conv_bias_relu6_then_Conv_residual"),
        (", c", "l = Add (j, r) y = Relu (l)", "Conv_bias_relu6_then_Conv_bias_residual_relu"),
        (", c", "l = Add (j, r) y = Clip (l, zero, six)", "Conv_bias_relu6_then_Conv_bias_residual_relu6"),
        (", c", "s = Sigmoid (j) y = Mul (s, j)", "Conv_bias_relu6_then_Conv_bias_silu"),
        (", c", "y = LeakyRelu <alpha: float = 0.1> (j)", "Conv_bias_relu6_then_Conv_bias_leaky_relu"),
    ],
)
def test_depthwise_and_pointwise_if_enabled(bias: str, end: str, name: str) -> None:
    original = model(DEPTHWISE.format(bias=bias, end=end), zero=0, six=6)
    apart = run_pass(original, "fuse_layers")
    assert len(apart.model.graph.node) == 2
    together = run_pass(original, FuseLayers(depthwise_pointwise=True))
    assert operators(together.model) == {name: 1}
    assert apart.reports[0].macs_after == together.reports[0].macs_after == 4 * 9 * 16 + 4 * 6 * 16


@pytest.mark.parametrize(
    ("slope", "name"),
    [
        ("float[4,1,1]", "Conv_bias_residual_prelu"),
        ("float[1,4,1,1]", "Conv_bias_residual_prelu"),
        ("float[1]", "Conv_bias_residual_leaky_relu"),
        ("float[1,1,1,1]", "Conv_bias_residual_leaky_relu"),
        ("float[5]", "Conv_bias_residual"),
        ("float[4,5,5]", "Conv_bias_residual"),
    ],
)
def test_slopes_of_channels_and_a_residual(slope: str, name: str) -> None:
    original = model(
        f"""g (float[1,4,5,5] x) => (float[1,4,5,5] y) <float[4,4,3,3] w, float[4] b, {slope} s> {{
            h = Conv <pads: ints = [1,1,1,1]> (x, w, b)
            i = Add (h, x)
            y = PRelu (i, s)
        }}"""
    )
    found = operators(run_pass(original, "fuse_layers").model)
    assert name in found
    assert len(found) == 1 + (name == "Conv_bias_residual")


def test_a_slope_that_is_an_input_stays() -> None:
    original = model(
        """g (float[1,4,5,5] x, float[4,1,1] s) => (float[1,4,5,5] y) <float[4,4,1,1] w> {
            h = Conv (x, w)
            y = PRelu (h, s)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "PRelu": 1}


@pytest.mark.parametrize("slope", ["float[6]", "float[1,6]", "float[1,1]"])
def test_slopes_of_columns(slope: str) -> None:
    original = model(
        f"""g (float[2,3,4] x) => (float[2,3,6] y) <float[4,6] w, {slope} s> {{
            h = MatMul (x, w)
            y = PRelu (h, s)
        }}"""
    )
    (name,) = operators(run_pass(original, "fuse_layers").model)
    assert name == ("MatMul_leaky_relu" if slope == "float[1,1]" else "MatMul_prelu")


def test_slopes_of_two_layers_stay_apart() -> None:
    original = model(
        """g (float[1,4,7,7] x) => (float[1,6,5,5] y) <float[4,1,3,3] k, float[6,4,1,1] w, float[4,1,1] s,
                                                      float[6,1,1] t> {
            h = Conv <group: int = 4> (x, k)
            i = PRelu (h, s)
            j = Conv (i, w)
            y = PRelu (j, t)
        }"""
    )
    optimized = run_pass(original, FuseLayers(depthwise_pointwise=True))
    assert operators(optimized.model) == {"Conv_prelu_then_Conv_prelu": 1}


POOLED = """g (float[1,4,9,9] x) => (float[1,6,4,4] y) <float[6,4,1,1] w, float[6] b{weights}> {{
    h = Conv (x, w, b)
    p = MaxPool <kernel_shape: ints = [3,3], strides: ints = [2,2]> (h)
    y = {activation}
}}"""


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        ("Relu (p)", "relu"),
        ("Clip (p, zero, six)", "relu6"),
        ("LeakyRelu <alpha: float = 0.1> (p)", "leaky_relu"),
        ("PRelu (p, positive)", "prelu"),
    ],
)
def test_an_activation_behind_a_max_pooling_moves_to_the_layer(activation: str, name: str) -> None:
    weights = ", float zero, float six, float[6,1,1] positive"
    constants = {"zero": 0.0, "six": 6.0, "positive": np.linspace(0, 1, 6)}
    original = model(POOLED.format(weights=weights, activation=activation), **constants)
    optimized = run_pass(original, "fuse_layers").model
    assert operators(optimized) == {f"Conv_bias_{name}": 1, "MaxPool": 1}
    assert [node.op_type for node in optimized.graph.node][-1] == "MaxPool"
    x = np.random.default_rng(0).standard_normal((1, 4, 9, 9), np.float32)
    for before, after in zip(oracle.run(original, {"x": x}), oracle.run(optimized, {"x": x}), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "activation", ["LeakyRelu <alpha: float = -0.1> (p)", "PRelu (p, negative)", "Sigmoid (p)", "Neg (p)", "Abs (p)"]
)
def test_other_functions_stay_behind_the_pooling(activation: str) -> None:
    original = model(POOLED.format(weights=", float[6,1,1] negative", activation=activation))
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


@pytest.mark.parametrize("slope", ["float[6,4,4]", "float[4]", "float[1,6,4,4]"])
def test_slopes_of_pixels_stay_behind_the_pooling(slope: str) -> None:
    graph = POOLED.format(weights=f", {slope} positive", activation="PRelu (p, positive)")
    sizes = [int(size) for size in slope[6:-1].split(",")]
    original = model(graph, positive=np.full(sizes, 0.5))
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


@pytest.mark.parametrize(
    ("size", "window"),
    [
        (3, "kernel_shape: ints = [2,2], dilations: ints = [3,3], pads: ints = [1,1,1,1], strides: ints = [2,2]"),
        (4, "kernel_shape: ints = [3,3], pads: ints = [1,1,1,1], strides: ints = [2,2], ceil_mode: int = 1"),
    ],
)
def test_windows_that_may_be_padding_alone_keep_their_activation(size: int, window: str) -> None:
    original = model(
        f"""g (float[1,4,6,6] x) => (float[1,6,{size},{size}] y) <float[6,4,1,1] w> {{
            h = Conv (x, w)
            p = MaxPool <{window}> (h)
            y = Relu (p)
        }}"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "MaxPool": 1, "Relu": 1}


@pytest.mark.parametrize(
    ("inputs", "activation"),
    [(", float low", "Clip (p, low)"), (", float[6,1,1] slope", "PRelu (p, slope)")],
    ids=["bounds", "slopes"],
)
def test_what_layers_do_not_take_stays_behind_the_pooling(inputs: str, activation: str) -> None:
    graph = POOLED.format(weights="", activation=activation).replace(" x)", f" x{inputs})", 1)
    assert operators(run_pass(model(graph), "fuse_layers").model) == operators(model(graph))


def test_indices_of_a_pooling_are_those_of_its_input() -> None:
    original = model(
        """g (float[1,4,9,9] x) => (float[1,6,4,4] y, int64[1,6,4,4] places) <float[6,4,1,1] w> {
            h = Conv (x, w)
            p, places = MaxPool <kernel_shape: ints = [3,3], strides: ints = [2,2]> (h)
            y = Relu (p)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "MaxPool": 1, "Relu": 1}


def test_a_pooling_with_another_reader_keeps_its_activation() -> None:
    original = model(
        """g (float[1,4,9,9] x) => (float[1,6,4,4] y, float[1,6,4,4] p) <float[6,4,1,1] w> {
            h = Conv (x, w)
            p = MaxPool <kernel_shape: ints = [3,3], strides: ints = [2,2]> (h)
            y = Relu (p)
        }"""
    )
    assert operators(run_pass(original, "fuse_layers").model) == {"Conv": 1, "MaxPool": 1, "Relu": 1}


def test_numbers_of_two_activations_stay_apart() -> None:
    original = model(
        """g (float[1,4,7,7] x) => (float[1,6,5,5] y) <float[4,1,3,3] k, float[6,4,1,1] w> {
            h = Conv <group: int = 4> (x, k)
            i = LeakyRelu <alpha: float = 0.1> (h)
            j = Conv (i, w)
            y = LeakyRelu <alpha: float = 0.6> (j)
        }"""
    )
    optimized = run_pass(original, FuseLayers(depthwise_pointwise=True))
    assert operators(optimized.model) == {"Conv_leaky_relu_then_Conv_leaky_relu": 1}


@pytest.mark.parametrize("op", OPERATORS)
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_names_identify_the_layer(op: str, activation: str | None) -> None:
    for bias, residual, integers, rounded, last in itertools.product((False, True), repeat=5):
        layer = FusedLayer(op, bias, residual, activation, integers and residual, integers, rounded, channels_last=last)
        known = not (integers or rounded) or layer.has_integer_input
        assert FusedLayer.named(layer.name) == (layer if known else None)


@pytest.mark.parametrize(
    "name", ["Conv_biased", "Attention", "Conv_relu_bias", "Pool_relu", "Conv_relu_", "Conv_relu\n"]
)
def test_other_names_are_not_layers(name: str) -> None:
    assert FusedLayer.named(name) is None


@pytest.mark.parametrize("square", ["Mul (d, d)", "Pow (d, two)"])
@pytest.mark.parametrize("ending", ["n = Div (d, s)", "q = Reciprocal (s) n = Mul (q, d)"])
@pytest.mark.parametrize("shifted", [True, False])
def test_layer_normalization(square: str, ending: str, shifted: bool) -> None:
    original = model(
        f"""g (float[2,3,8] x) => (float[2,3,8] y)
            <int64[1] axis, float two, float epsilon, float[8] gamma, float[8] beta> {{
            m = ReduceMean (x, axis)
            d = Sub (x, m)
            p = {square}
            v = ReduceMean (p, axis)
            e = Add (v, epsilon)
            s = Sqrt (e)
            {ending}
            o = Mul (n, gamma)
            y = {"Add (o, beta)" if shifted else "Identity (o)"}
        }}""",
        axis=-1, two=2, epsilon=1e-3,
    )  # fmt: skip
    optimized = run_pass(original, "fuse_layers")
    assert operators(optimized.model) == ({"LayerNormalization": 1} | ({} if shifted else {"Identity": 1}))


def test_a_normalization_over_another_axis_is_between_transposes() -> None:
    original = model(
        """g (float[2,8,8] x) => (float[2,8,8] y) <int64[1] axis, float epsilon, float[8] gamma> {
            m = ReduceMean (x, axis)
            d = Sub (x, m)
            p = Mul (d, d)
            v = ReduceMean (p, axis)
            e = Add (v, epsilon)
            s = Sqrt (e)
            n = Div (d, s)
            y = Mul (n, gamma)
        }""",
        axis=1, epsilon=1e-3,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == {"Transpose": 2, "LayerNormalization": 1, "Mul": 1}


def attention(scores: str, transposed: bool = False, tail: str = "p = Softmax <axis: int = -1> (s)") -> onnx.ModelProto:
    """Two heads of four elements, five queries, seven keys; k is transposed, or has its heads after its keys."""
    k = (
        "k = Transpose <perm: ints = [0, 2, 3, 1]> (keys)"
        if transposed
        else "k = Transpose <perm: ints = [0, 1, 3, 2]> (keys)"
    )
    shape = "1,7,2,4" if transposed else "1,2,7,4"
    return model(
        f"""g (float[1,2,5,4] q, float[{shape}] keys, float[1,2,7,3] v, float[1,1,5,7] mask) => (float[1,2,5,3] y)
            <float two, float half, float root, float zero> {{
            {k}
            {scores}
            {tail}
            y = MatMul (p, v)
        }}""",
        two=2, half=0.5, root=0.5**0.5, zero=0,
    )  # fmt: skip


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("scores", "name"),
    [
        ("s = MatMul (q, k)", "Attention"),
        ("a = MatMul (q, k) s = Div (a, two)", "Attention"),
        ("a = MatMul (q, k) s = Mul (half, a)", "Attention"),
        ("a = Mul (q, half) s = MatMul (a, k)", "Attention"),
        ("a = Mul (q, root) b = Mul (k, root) s = MatMul (a, b)", "Attention"),
        ("a = MatMul (q, k) b = Div (a, two) s = Add (b, mask)", "Attention_mask"),
        ("a = Mul (q, root) b = Mul (k, root) c = MatMul (a, b) s = Add (mask, c)", "Attention_mask"),
    ],
)
def test_attention(scores: str, name: str, transposed: bool) -> None:
    optimized = run_pass(attention(scores, transposed), "fuse_layers")
    assert operators(optimized.model) == {name: 1} | ({"Transpose": 1} if transposed else {})
    assert optimized.reports[0].macs_before == optimized.reports[0].macs_after == 2 * 5 * 7 * (4 + 3)


def test_keys_that_are_transposed_as_matrices_between_reshapes() -> None:
    """As torch's exporter writes scaled dot-product attention."""
    original = model(
        """g (float[1,2,5,4] q, float[1,2,7,4] keys, float[1,2,7,3] v) => (float[1,2,5,3] y)
            <float root, int64[3] rows, int64[4] whole> {
            r = Reshape (keys, rows) t = Transpose <perm = [0,2,1]> (r) k = Reshape (t, whole)
            a = Mul (q, root) b = Mul (k, root) s = MatMul (a, b) p = Softmax (s) y = MatMul (p, v)
        }""",
        root=0.5**0.5, rows=[-1, 7, 4], whole=[1, 2, 4, 7],
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == {"Attention": 1}


@pytest.mark.parametrize("choice", ["s = Where (c, a, low)", "s = Where (c, low, a)"])
def test_masks_that_replace_scores(choice: str) -> None:
    original = model(
        f"""g (float[1,2,5,4] q, float[1,2,4,7] k, float[1,2,7,3] v, float[1,1,1,7] mask) => (float[1,2,5,3] y)
            <float half, float low, float level> {{
            c = Greater (mask, level) b = MatMul (q, k) a = Mul (b, half) {choice}
            p = Softmax (s) y = MatMul (p, v)
        }}""",
        half=0.5, low=-1e9, level=-0.2,
    )  # fmt: skip
    found = operators(run_pass(original, "fuse_layers").model)
    assert found == {"Greater": 1, "Where": 1, "Transpose": 1, "Attention_mask": 1}


def test_hidden_rows_have_equal_weights() -> None:
    """Where replaces all scores of a row by one number, also if they are too large to vanish when it is added."""
    original = model(
        """g (float[1,2,5,4] q, float[1,2,4,7] k, float[1,2,7,3] v, float[1,1,1,7] mask) => (float[1,2,5,3] y)
            <float large, float low, float level> {
            c = Greater (mask, level) b = MatMul (q, k) a = Mul (b, large) s = Where (c, a, low)
            p = Softmax (s) y = MatMul (p, v)
        }""",
        large=500, low=-1e9, level=100,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model)["Attention_mask"] == 1


def test_two_masks_are_added() -> None:
    original = model(
        """g (float[1,2,5,4] q, float[1,2,4,7] k, float[1,2,7,3] v, float[1,1,1,7] mask, float[2,5,7] bias)
            => (float[1,2,5,3] y) {
            a = MatMul (q, k) b = Add (a, bias) s = Add (b, mask) p = Softmax (s) y = MatMul (p, v)
        }"""
    )
    found = operators(run_pass(original, "fuse_layers").model)
    assert found == {"Add": 1, "Transpose": 1, "Attention_mask": 1}


MASKS = {  # from the scores a to s, and whether they are one mask
    "hidden twice": ("b = Where (c, a, lowest) s = Where (d, b, lowest)", True),
    "hidden twice by -1e9": ("b = Where (c, a, low) s = Where (d, low, b)", True),
    "infinite, then replaced": ("b = Add (a, infinite) s = Where (c, b, lowest)", True),
    "infinite, then replaced by -1e9": ("b = Add (a, infinite) s = Where (c, b, low)", False),
    "replaced, then infinite": ("b = Where (c, a, lowest) s = Add (b, infinite)", True),
    "low, then replaced": ("b = Add (a, added) s = Where (c, b, low)", False),
    "replaced, then low": ("b = Where (c, a, low) s = Add (b, added)", False),
    "replaced, then lowest": ("b = Where (c, a, lowest) s = Add (b, lowest_added)", True),
    "positions, then replaced": ("b = Add (a, bias) s = Where (c, b, low)", True),
    "replaced, then positions": ("b = Where (c, a, low) s = Add (b, bias)", False),
    "different numbers": ("b = Where (c, a, low) s = Where (d, b, lower)", False),
    "replaced by infinity last": ("b = Where (c, a, low) s = Where (d, b, infinity)", True),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_in_a_series_hide_rows_alike(name: str) -> None:
    """Rows may be hidden entirely, by one mask or by several: their weights depend on which number is lowest."""
    statements, fused = MASKS[name]
    rng = np.random.default_rng(3)
    lowest = float(np.finfo(np.float32).min)
    hidden = {name: rng.random((5, 7)) < 0.5 for name in ("infinite", "added", "lowest_added")}
    for array in hidden.values():
        array[:, 0] = True
        array[:, 1] = False
    visible = rng.random((2, 5, 7)) < 0.3
    visible[:, 1:4] = False  # rows without a visible score
    visible[:, 4, 1] = True
    original = model(
        f"""g (float[1,2,5,4] q, float[1,2,4,7] k, float[1,2,7,3] v) => (float[1,2,5,3] y)
            <bool[5,7] c, bool[5,7] d, float low, float lower, float lowest, float infinity, float[5,7] bias,
             float[5,7] infinite, float[5,7] added, float[5,7] lowest_added> {{
            a = MatMul (q, k) {statements} p = Softmax (s) y = MatMul (p, v)
        }}""",
        c=visible[0], d=~visible[1] if "low, b" in statements else visible[1], low=-1e9, lower=-1e10, lowest=lowest,
        infinity=-np.inf, bias=-100 * rng.random((5, 7)), infinite=np.where(hidden["infinite"], -np.inf, 0),
        added=np.where(hidden["added"], -1e9, 0), lowest_added=np.where(hidden["lowest_added"], lowest, 0),
    )  # fmt: skip
    inputs = oracle.random_inputs(original, 0)
    changed = graph_passes.optimize(original, passes=["fuse_layers"]).model
    assert ("Attention_mask" in operators(changed)) == fused
    want, got = (oracle.run(proto, inputs)[0] for proto in (original, changed))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_a_small_number_is_not_a_mask() -> None:
    original = model(
        """g (float[1,2,5,4] q, float[1,2,4,7] k, float[1,2,7,3] v, float[1,1,1,7] mask) => (float[1,2,5,3] y)
            <float low, float level> {
            c = Greater (mask, level) a = MatMul (q, k) s = Where (c, a, low) p = Softmax (s) y = MatMul (p, v)
        }""",
        low=-100, level=-0.2,
    )  # fmt: skip
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_on_three_axes(masked: bool) -> None:
    """As torch's MultiheadAttention: tokens first, and batch and heads on one axis."""
    scores = "b = MatMul (q, k) s = Add (b, mask)" if masked else "s = MatMul (q, k)"
    original = model(
        f"""g (float[5,6,4] x, float[7,6,4] keys, float[7,6,3] values, float[6,5,7] mask) => (float[5,6,3] y) {{
            q = Transpose <perm = [1,0,2]> (x) k = Transpose <perm = [1,2,0]> (keys)
            v = Transpose <perm = [1,0,2]> (values)
            {scores} p = Softmax (s) o = MatMul (p, v) y = Transpose <perm = [1,0,2]> (o)
        }}"""
    )
    optimized = run_pass(original, "fuse_layers")
    found = operators(optimized.model)
    assert found["Attention_mask" if masked else "Attention"] == 1
    assert {"MatMul", "Softmax"}.isdisjoint(found)
    assert all(
        list(node.attribute[0].ints) == [0, 2, 1, 3]
        for node in optimized.model.graph.node
        if node.op_type == "Transpose"
    )


def test_attention_that_replaces_nan_by_zeros() -> None:
    tail = "t = Softmax <axis: int = -1> (s) n = IsNaN (t) p = Where (n, zero, t)"
    original = attention("a = MatMul (q, k) s = Add (a, mask)", tail=tail)
    assert operators(run_pass(original, "fuse_layers").model) == {"Attention_mask_or_zero": 1}


@pytest.mark.parametrize(
    ("scores", "tail"),
    [
        (
            "a = MatMul (q, k) b = Add (a, mask) s = Div (b, two)",
            "p = Softmax <axis: int = -1> (s)",
        ),  # scales the mask too
        ("s = MatMul (q, k)", "p = Softmax <axis: int = 2> (s)"),
        ("s = MatMul (q, k)", "t = Softmax <axis: int = -1> (s) p = Add (t, mask)"),
        ("a = MatMul (q, k) b = Abs (a) s = Add (b, mask)", "p = Softmax <axis: int = -1> (s)"),
    ],
)
def test_other_graphs_are_not_attention(scores: str, tail: str) -> None:
    original = attention(scores, tail=tail)
    assert operators(run_pass(original, "fuse_layers").model) == operators(original)
