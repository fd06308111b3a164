"""Channels last: where transposes remain, what operators become, and which operators keep their layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import graph_passes
from benchmarks import models
from graph_passes.channels_last import ChannelsLast
from graph_passes.fuse_layers import FuseLayers
from graph_passes.layout.axes import channels_first, channels_last
from graph_passes.layout.functions import FUNCTIONS
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass, weights
from tests.graph_passes.zoo import networks


def moved(original: onnx.ModelProto) -> graph_passes.Optimized:
    """Runs the pass. Checks that the result computes the same outputs, also with functions inlined."""
    optimized = run_pass(original, ChannelsLast())
    inlined = graph_passes.inline(optimized.model)
    assert not inlined.functions
    oracle.assert_same(original, inlined, oracle.random_inputs(original, seed=2))
    return optimized


def transposes(proto: onnx.ModelProto) -> list[tuple[str, str]]:
    """Returns the input and output of each transpose, by the names in the original model."""
    return [
        (node.input[0].removesuffix("_nhwc"), node.output[0].removesuffix("_nhwc"))
        for node in proto.graph.node
        if node.op_type == "Transpose"
    ]


ENDS = [("x", "x"), ("y", "y")]  # transposes of the input and of the output only


@dataclass(frozen=True)
class Between:
    """Statements between two convolutions, from h (1, 4, 6, 5) to t with a number of channels."""

    statements: str
    becomes: Mapping[str, int]
    channels: int = 4
    weights: str = ""
    arrays: Mapping[str, object] = field(default_factory=dict)
    opset: int = 18


def between(case: Between) -> onnx.ModelProto:
    arrays = {name: np.asarray(array) for name, array in case.arrays.items()}
    declared = f"float[4,3,3,3] w, float[4] b, float[2,{case.channels},1,1] v{', ' * bool(case.weights)}{case.weights}"
    return model(
        f"""g (float[1,3,6,5] x) => (float[N,2,H,W] y) <{declared}> {{
            h = Conv <pads: ints = [1, 1, 1, 1]> (x, w, b)
            {case.statements}
            y = Conv (t, v)
        }}""",
        case.opset,
        0,
        **arrays,
    )


SIZES = "int64[4] sizes"
POOL = "kernel_shape: ints = [3, 2], strides: ints = [2, 1]"
FOLLOWERS: Sequence[Between] = (
    Between("t = Relu (h)", {"Relu": 1}),
    Between("t = Identity (h)", {"Identity": 1}),
    Between("s = Sigmoid (h) t = Mul (h, s)", {"Sigmoid": 1, "Mul": 1}),
    Between("t = Add (h, h)", {"Add": 1}),
    Between("t = Sum (h, c, h)", {"Sum": 1}, 4, "float[4,1,1] c"),
    Between("t = Clip (h, low, high)", {"Clip": 1}, 4, "float low, float high", {"low": -1.0, "high": 0.5}),
    Between("t = PRelu (h, c)", {"PRelu": 1}, 4, "float[4,1,1] c"),
    Between("i = Cast <to: int = 11> (h) t = Cast <to: int = 1> (i)", {"Cast": 2}),
    Between("g = Greater (h, c) t = Where (g, h, d)", {"Greater": 1, "Where": 1}, 4, "float c, float[4,1,1] d"),
    Between("l, r = Split <axis: int = 1, num_outputs: int = 2> (h) t = Mul (l, r)", {"Split": 1, "Mul": 1}, 2),
    Between("t = Concat <axis: int = -3> (h, c, h)", {"Concat": 1}, 10, "float[1,2,6,5] c"),
    Between("t = Concat <axis: int = 2> (h, h)", {"Concat": 1}),
    Between("t = Pad (h, sizes)", {"Pad": 1}, 5, "int64[8] sizes", {"sizes": [0, 1, 2, 0, 0, 0, 1, 3]}),
    Between(
        't = Pad <mode: string = "reflect"> (h, sizes, , axes)',
        {"Pad": 1},
        4,
        "int64[2] sizes, int64[1] axes",
        {"sizes": [2, 1], "axes": [-1]},
    ),
    Between("t = Slice (h, a, e, i, s)", {"Slice": 1}, 2, "int64[2] a, int64[2] e, int64[2] i, int64[2] s",
            {"a": [1, 0], "e": [3, 9], "i": [1, -1], "s": [1, 2]}),
    Between("t = Slice (h, a, e)", {"Slice": 1}, 3, "int64[2] a, int64[2] e", {"a": [0, 1], "e": [1, 4]}),
    Between("t = Gather <axis: int = 1> (h, i)", {"Gather": 1}, 3, "int64[3] i", {"i": [3, 0, 2]}),
    Between("t = Resize (h, , c)", {"Resize": 1}, 4, "float[4] c", {"c": [1, 1, 2, 3]}),
    Between('t = Resize <mode: string = "linear"> (h, , , c)', {"Resize": 1}, 4, "int64[4] c", {"c": [1, 4, 9, 7]}),
    Between("t = Resize <axes: ints = [2, 3]> (h, , c)", {"Resize": 1}, 4, "float[2] c", {"c": [2, 1]}),
    Between("t = Expand (h, c)", {"Expand": 1}, 4, "int64[4] c", {"c": [1, 1, 6, 1]}),
    Between("t = Tile (h, c)", {"Tile": 1}, 8, "int64[4] c", {"c": [1, 2, 1, 3]}),
    Between("t = Softmax <axis: int = 1> (h)", {"Softmax": 1}),
    Between("t = Softmax (h)", {"Softmax": 1}),
    Between("m = ReduceMean (h, i) t = Sub (h, m)", {"ReduceMean": 1, "Sub": 1}, 4, "int64[2] i", {"i": [-1, 2]}),
    Between("m = ReduceSum (h, i) t = Sub (h, m)", {"ReduceSum": 1, "Sub": 1}, 4, "int64[1] i", {"i": [1]}),
    Between("m = ReduceMax (h) t = Sub (h, m)", {"ReduceMax": 1, "Sub": 1}),
    Between("m = ReduceMean <axes: ints = [2, 3]> (h) t = Sub (h, m)", {"ReduceMean": 1, "Sub": 1}, opset=17),
    Between("t = Transpose <perm: ints = [0, 1, 3, 2]> (h)", {"Transpose": 1}),
    Between(f"t = MaxPool <{POOL}, ceil_mode: int = 1> (h)", {"MaxPool_nhwc": 1}),
    Between(f't = MaxPool <{POOL}, auto_pad: string = "SAME_UPPER", dilations: ints = [1, 1]> (h)',
            {"MaxPool_nhwc": 1}),
    Between(f"t = AveragePool <{POOL}, pads: ints = [1, 0, 1, 1]> (h)", {"AveragePool_nhwc": 1}),
    Between(f"t = AveragePool <{POOL}, pads: ints = [1, 0, 1, 1], count_include_pad: int = 1> (h)",
            {"AveragePool_nhwc": 1}),
    Between(f"s = AveragePool <{POOL}, dilations: ints = [2, 2]> (h) t = AveragePool <kernel_shape: ints = [1, 2]> (s)",
            {"AveragePool_nhwc": 2}, opset=19),
    Between("m = GlobalAveragePool (h) t = Mul (m, h)", {"GlobalAveragePool_nhwc": 1, "Mul": 1}),
    Between("m = GlobalMaxPool (h) t = Mul (h, m)", {"GlobalMaxPool_nhwc": 1, "Mul": 1}),
    Between("t = LRN <size: int = 3> (h)", {"LRN_nhwc": 1}),
    Between("t = InstanceNormalization (h, c, d)", {"InstanceNormalization_nhwc": 1}, 4, "float[4] c, float[4] d"),
    Between("t = BatchNormalization <epsilon: float = 0.1> (h, c, d, m, variance)", {"BatchNormalization_nhwc": 1}, 4,
            "float[4] c, float[4] d, float[4] m, float[4] variance"),
    Between("t = DepthToSpace <blocksize: int = 2> (h)", {"DepthToSpace_nhwc": 1}, 1),
    Between('t = DepthToSpace <blocksize: int = 2, mode: string = "CRD"> (h)', {"DepthToSpace_nhwc": 1}, 1),
    Between("d = Pad (h, sizes) t = SpaceToDepth <blocksize: int = 2> (d)", {"Pad": 1, "SpaceToDepth_nhwc": 1}, 16,
            "int64[8] sizes", {"sizes": [0, 0, 0, 0, 0, 0, 0, 1]}),
    Between("s = ConvTranspose <strides: ints = [2, 1]> (h, c) t = ConvTranspose (s, c, d)",
            {"ConvTranspose_nhwc": 1, "ConvTranspose_bias_nhwc": 1}, 4, "float[4,4,2,2] c, float[4] d"),
    # The shuffle of ShuffleNet: groups of channels change places.
    Between(
        "g = Reshape (h, a) s = Transpose <perm: ints = [0, 2, 1, 3, 4]> (g) t = Reshape (s, sizes)",
        {"Reshape": 2, "Transpose": 1}, 4, f"int64[5] a, {SIZES}", {"a": [1, 2, 2, 6, 5], "sizes": [1, 4, 6, 5]},
    ),
    # Squeeze and excitation by products of matrices.
    Between(
        """m = GlobalAveragePool (h) f = Flatten (m) e = MatMul (f, c) g = Sigmoid (e)
        s = Reshape (g, sizes) t = Mul (h, s)""",
        {"GlobalAveragePool_nhwc": 1, "Reshape": 2, "MatMul": 1, "Sigmoid": 1, "Mul": 1}, 4,
        f"float[4,4] c, {SIZES}", {"sizes": [1, 4, 1, 1]},
    ),
    Between(
        "m = ReduceMean <keepdims: int = 0> (h, i) e = MatMul (m, c) s = Unsqueeze (e, i) t = Mul (h, s)",
        {"ReduceMean": 1, "MatMul": 1, "Reshape": 1, "Mul": 1}, 4, "int64[2] i, float[4,4] c", {"i": [2, 3]},
    ),
    # Tokens and back, as around attention.
    Between(
        """f = Reshape (h, a) r = Transpose <perm: ints = [0, 2, 1]> (f) m = MatMul (r, c)
        q = Transpose <perm: ints = [0, 2, 1]> (m) t = Reshape (q, sizes)""",
        {"Reshape": 2, "MatMul": 1}, 4, f"int64[3] a, float[4,4] c, {SIZES}", {"a": [1, 4, 30], "sizes": [1, 4, 6, 5]},
    ),
    # A layer normalization over channels, as in ConvNeXt, needs no transposes.
    Between(
        """l = Transpose <perm: ints = [0, 2, 3, 1]> (h) n = LayerNormalization (l, c)
        t = Transpose <perm: ints = [0, 3, 1, 2]> (n)""",
        {"LayerNormalization": 1}, 4, "float[4] c",
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", FOLLOWERS, ids=lambda case: case.statements)
def test_what_follows_a_convolution(case: Between) -> None:
    optimized = moved(between(case)).model
    found = dict(operators(optimized))
    assert found.pop("Conv_bias_nhwc") == 1
    assert found.pop("Conv_nhwc") == 1
    found["Transpose"] -= 2  # at the input and the output
    assert {op_type: count for op_type, count in found.items() if count} == case.becomes
    assert transposes(optimized)[0] == ENDS[0]
    assert transposes(optimized)[-1] == ENDS[1]


def test_every_function_is_tried_here() -> None:
    tried = {op_type.split("_")[0] for case in FOLLOWERS for op_type in case.becomes if op_type.endswith("_nhwc")}
    assert tried == {*FUNCTIONS, "ConvTranspose"}


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ("4,1,1", (4,)),
        ("1,4,1,1", (4,)),
        ("6,5", (6, 5, 1)),
        ("5", (5, 1)),
        ("4,6,5", (6, 5, 4)),
        ("1", (1,)),
        ("1,1,1,1", (1, 1, 1, 1)),
    ],
)
@pytest.mark.parametrize("statement", ["t = Sub (h, c)", "t = Sub (c, h)"])
def test_constants_are_broadcast(shape: str, becomes: tuple[int, ...], statement: str) -> None:
    optimized = moved(between(Between(statement, {}, 4, f"float[{shape}] c"))).model
    assert transposes(optimized) == ENDS
    kept = weights(optimized)
    assert next(kept[name].shape for node in optimized.graph.node for name in node.input if name[0] == "c") == becomes


@pytest.mark.parametrize("shape", ["4,1,1", "5", "6,5", "1,6,1", "1", ""])
def test_operands_of_fewer_dimensions_are_broadcast(shape: str) -> None:
    operand = f"float[{shape}] a" if shape else "float a"
    optimized = moved(
        model(
            f"""g (float[1,3,6,5] x, {operand}) => (float[1,4,6,5] y) <float[4,3,1,1] w> {{
                h = Conv (x, w)
                i = Neg (a)
                j = Add (i, h)
                y = Mul (j, i)
            }}"""
        )
    ).model
    assert transposes(optimized) == ENDS
    assert operators(optimized).get("Reshape", 0) == (shape not in ("1", ""))


def test_the_whole_interior() -> None:
    optimized = moved(
        model(
            """g (float[1,3,9,9] x) => (float[1,5] y)
            <float[4,3,3,3] a, float[4,4,1,1] b, float[4,4,3,3] c, float[5,8] d, float[5] e, int64[2] s> {
                h = Conv <strides: ints = [2, 2]> (x, a)
                i = Relu (h)
                j = Conv (i, b)
                k = Conv <auto_pad: string = "SAME_LOWER"> (j, c)
                l = Add (k, i)
                m = MaxPool <kernel_shape: ints = [2, 2]> (l)
                n = AveragePool <kernel_shape: ints = [2, 2]> (l)
                o = Concat <axis: int = 1> (m, n)
                p = GlobalAveragePool (o)
                q = Reshape (p, s)
                y = Gemm <transB: int = 1> (q, d, e)
            }""",
            s=np.array([0, -1]),
        )
    )
    assert operators(optimized.model) == {
        "Transpose": 1, "Conv_nhwc": 3, "Relu": 1, "Add": 1, "MaxPool_nhwc": 1, "AveragePool_nhwc": 1, "Concat": 1,
        "GlobalAveragePool_nhwc": 1, "Reshape": 1, "Gemm": 1,
    }  # fmt: skip
    assert transposes(optimized.model) == ENDS[:1]
    assert not remarks(optimized)


LAYERS = """g (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,1,1] a, float[4] b, float[4,1,3,3] c, float[4] d,
    float[4,4,1,1] e> {
        h = Conv (x, a, b)
        i = Relu (h)
        j = Conv <group: int = 4, pads: ints = [1, 1, 1, 1]> (i, c, d)
        k = LeakyRelu <alpha: float = 0.2> (j)
        l = Conv (k, e)
        m = Add (l, i)
        y = Relu (m)
    }"""


@pytest.mark.parametrize(
    ("fuse", "becomes"),
    [
        (FuseLayers(), ["Conv_bias_relu_nhwc", "Conv_bias_leaky_relu_nhwc", "Conv_residual_relu_nhwc"]),
        (
            FuseLayers(depthwise_pointwise=True),
            ["Conv_bias_relu_nhwc", "Conv_bias_leaky_relu_then_Conv_residual_relu_nhwc"],
        ),
    ],
)
def test_fused_layers(fuse: FuseLayers, becomes: list[str]) -> None:
    original = model(LAYERS)
    optimized = moved(graph_passes.optimize(original, passes=[fuse]).model).model
    assert operators(optimized) == {"Transpose": 2} | dict.fromkeys(becomes, 1)
    assert transposes(optimized) == ENDS
    oracle.assert_same(original, optimized, oracle.random_inputs(original, seed=3))
    again = graph_passes.optimize(optimized, passes=[fuse]).model
    assert operators(again) == operators(optimized)


def test_a_model_of_tensorflow_has_no_transposes_left() -> None:
    """TensorFlow has channels last, with a pair of transposes around each convolution."""
    around = [
        f"""n{i} = Transpose <perm: ints = [0, 3, 1, 2]> ({x})
        c{i} = {op}
        l{i} = Transpose <perm: ints = [0, 2, 3, 1]> (c{i})"""
        for i, x, op in (
            (0, "x", "Conv (n0, w, b)"),
            (1, "r", "MaxPool <kernel_shape: ints = [2, 2]> (n1)"),
            (2, "l1", "Conv (n2, v)"),
        )
    ]
    optimized = moved(
        model(
            f"""g (float[1,7,6,3] x) => (float[1,3] y, float[1,6,5,4] l2)
            <float[4,3,1,1] w, float[4] b, float[4,4,1,1] v, float[4] c, int64[2] i, float[4,3] d> {{
                {around[0]}
                m = Mul (l0, c)
                r = Relu (m)
                {around[1]}
                {around[2]}
                p = ReduceMean <keepdims: int = 0> (l2, i)
                y = MatMul (p, d)
            }}""",
            i=np.array([1, 2]),
        )
    )
    assert operators(optimized.model) == {
        "Conv_bias_nhwc": 1, "Mul": 1, "Relu": 1, "Conv_nhwc": 1, "ReduceMean": 1, "MatMul": 1, "MaxPool_nhwc": 1,
    }  # fmt: skip


def test_transposes_are_where_fewest_elements_are() -> None:
    """Before the pooling, and behind it, but not of its larger input and answer."""
    optimized = moved(
        model(
            """g (float[1,4,8,8] x) => (float[N,4,H,W] y) <float[4,4,1,1] w> {
                h = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (x)
                i = Conv (h, w)
                j = Relu (i)
                k = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (j)
                y = Sigmoid (k)
            }"""
        )
    ).model
    assert operators(optimized) == {
        "MaxPool": 1, "Transpose": 2, "Conv_nhwc": 1, "Relu": 1, "MaxPool_nhwc": 1, "Sigmoid": 1,
    }  # fmt: skip
    assert transposes(optimized) == [("h", "h"), ("y", "y")]


def test_a_value_is_transposed_once() -> None:
    """A value with many readers needs one transpose. h is transposed anyway, so its Relu can read either layout."""
    optimized = moved(
        model(
            """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z, float[1,4,8,8] h) <float[4,4,1,1] w> {
                h = Conv (x, w)
                y = Conv (x, w)
                a = Relu (h)
                b = Einsum <equation: string = "nchw->nchw"> (a)
                c = Einsum <equation: string = "nchw->nchw"> (h)
                d = Add (b, c)
                e = Conv (d, w)
                f = Conv (d, w)
                z = Add (e, f)
            }"""
        )
    )
    assert sorted(transposes(optimized.model)) == [(name, name) for name in "dhxyz"]
    (remark,) = optimized.reports[0].remarks
    assert f"{remark.where.split()[0]}: {remark.what}" == f"Einsum: its input is transposed: {NO_FORM}"


def test_what_only_others_read_stays() -> None:
    """No convolution reads the left half of the model, so its layout stays."""
    optimized = moved(
        model(
            """g (float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) <float[4,4,1,1] w, float[4,1,1] c> {
                a = Add (x, c)
                y = Relu (a)
                z = Conv (x, w)
            }"""
        )
    ).model
    assert operators(optimized) == {"Add": 1, "Relu": 1, "Transpose": 2, "Conv_nhwc": 1}


@pytest.mark.parametrize(
    "statements",
    [
        "a = Relu (x) y = MaxPool <kernel_shape: ints = [1, 1]> (a)",
        "t = Transpose <perm: ints = [0, 2, 3, 1]> (x) y = Transpose <perm: ints = [0, 3, 1, 2]> (t)",
    ],
)
def test_without_a_convolution_nothing_changes(statements: str) -> None:
    original = model(f"g (float[1,4,8,8] x) => (float[1,4,8,8] y) {{ {statements} }}")
    assert operators(moved(original).model) == operators(original)


@pytest.mark.parametrize("axes", ["4,8", "4,8,8,8"])
def test_lines_and_volumes_stay(axes: str) -> None:
    ones = ",1" * axes.count(",")
    original = model(f"g (float[1,{axes}] x) => (float[1,{axes}] y) <float[4,4{ones}] w> {{ y = Conv (x, w) }}")
    assert operators(moved(original).model) == {"Conv": 1}


NO_FORM = "it has no form with channels last"


@pytest.mark.parametrize(
    ("statements", "answer", "reason"),
    [
        ("y = CumSum (h, i)", "1,4,6,5", f"CumSum: its input is transposed: {NO_FORM}"),
        ("r = Relu (h) y = CumSum (r, i)", "1,4,6,5", f"CumSum: its input is transposed: {NO_FORM}"),
        (
            'y = Resize <mode: string = "cubic"> (h, , c)',
            "1,4,12,10",
            "Resize: its input is transposed: not every runtime supports cubic",
        ),
        ("n = Reshape (h, s) y = Relu (n)", "2,3,20", "Reshape: its input is transposed: it needs the elements"),
        ("y = Add (h, q)", "1,4,6,5", "Add: its input is transposed: it broadcasts an operand of fewer dimensions"),
        (
            "y = ReduceMax <keepdims: int = 0> (h, j)",
            "1,4,5",
            "ReduceMax: its input is transposed: its output would have",
        ),
        ("n = CumSum (x, i) y = Conv (n, w)", "1,4,4,3", f"CumSum: its output is transposed: {NO_FORM}"),
    ],
)
def test_what_has_no_form(statements: str, answer: str, reason: str) -> None:
    used = {"i": np.array(1), "s": np.array([2, 3, 20]), "j": np.array([2]), "c": np.array([1, 1, 2, 2])}
    optimized = moved(
        model(
            f"""g (float[1,3,6,5] x, float[4,6,5] q) => (float[{answer}] y)
            <float[4,3,3,3] w, int64 i, int64[3] s, int64[1] j, float[4] c> {{
                h = Conv <pads: ints = [1, 1, 1, 1]> (x, w)
                {statements}
            }}""",
            18,
            0,
            **used,
        )
    )
    assert operators(optimized.model)["Transpose"] == 2
    (remark,) = optimized.reports[0].remarks
    assert reason in f"{remark.where.split()[0]}: {remark.what}"


def test_an_unknown_operator() -> None:
    original = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18, "custom" : 1]>
        g (float[1,3,6,5] x, float[4,3,3,3] w) => (float[1,4,4,3] y) <float[1,4,4,3] h> {
            h = Conv (x, w)
            y = custom.Unknown (h)
        }"""
    )
    optimized = graph_passes.optimize(original, passes=[ChannelsLast()])
    assert transposes(optimized.model) == [("x", "x"), ("h", "h")]
    assert f"Unknown y: its input is transposed: {NO_FORM}" in remarks(optimized).replace("node_Unknown_1", "y")


def test_unsupported_attributes() -> None:
    """A used second output, and a padding that depends on an unknown size."""
    optimized = moved(
        model(
            """g (float[1,4,6,6] x) => (float[N,4,H,W] y, int64[N,4,H,W] z) <float[4,4,1,1] w> {
                h = Conv (x, w)
                y, z = MaxPool <kernel_shape: ints = [2, 2]> (h)
            }"""
        )
    )
    assert operators(optimized.model) == {"Transpose": 2, "Conv_nhwc": 1, "MaxPool": 1}
    assert "MaxPool y: its input is transposed: outputs other than the first are used" in remarks(optimized)

    dynamic = graph_passes.optimize(
        model(
            """g (float[1,4,H,W] x) => (float[1,4,H,W] y) <float[4,4,3,3] w> {
                h = Conv <auto_pad: string = "SAME_UPPER"> (x, w)
                y = Conv <pads: ints = [1, 1, 1, 1]> (h, w)
            }"""
        ),
        passes=[ChannelsLast()],
    )
    assert operators(dynamic.model) == {"Conv": 1, "Transpose": 2, "Conv_nhwc": 1}
    assert "Conv h: keeps its layout: its padding depends on a size that is unknown" in remarks(dynamic)


def test_an_old_opset_is_not_supported() -> None:
    original = model("g (float[1,4,8,8] x) => (float[1,4,8,8] y) <float[4,4,1,1] w> { y = Conv (x, w) }", opset=13)
    optimized = moved(original)
    assert operators(optimized.model) == {"Conv": 1}
    assert "is not supported, at least" in remarks(optimized)


def test_dynamic_sizes() -> None:
    original = model(
        """g (float[N,3,H,W] x) => (float[N,4] y) <float[4,3,3,3] w, float[4,4,1,1] v, int64[2] s> {
            h = Conv <pads: ints = [1, 1, 1, 1]> (x, w)
            i = Relu (h)
            j = Conv (i, v)
            k = Add (i, j)
            p = GlobalAveragePool (k)
            y = Reshape (p, s)
        }""",
        s=np.array([0, -1]),
    )
    optimized = graph_passes.optimize(original, passes=[ChannelsLast()]).model
    assert operators(optimized) == {
        "Transpose": 1, "Conv_nhwc": 2, "Relu": 1, "Add": 1, "GlobalAveragePool_nhwc": 1, "Reshape": 1,
    }  # fmt: skip
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 5), dtype=np.float32)
    oracle.assert_same(original, optimized, {"x": x})


@pytest.mark.parametrize("product", ["Gemm (f, d, e)", "Gemm <transB: int = 1> (f, t, e)", "MatMul (f, d)"])
def test_weights_behind_a_flattened_image_are_ordered(product: str) -> None:
    original = model(
        f"""g (float[1,3,6,5] x) => (float[1,7] y)
        <float[4,3,1,1] w, float[120,7] d, float[7,120] t, float[7] e> {{
            h = Conv (x, w)
            f = Flatten (h)
            y = {product}
        }}"""
    )
    optimized = moved(original).model
    assert transposes(optimized) == ENDS[:1]
    fused = graph_passes.optimize(original, passes=[FuseLayers()]).model
    assert transposes(moved(fused).model) == ENDS[:1]


@pytest.mark.parametrize("second", ["z = Gemm (f, d)", "z = Relu (f)", "z = MatMul (d, f)"])
def test_weights_that_others_read_are_not(second: str) -> None:
    original = model(
        f"""g (float[1,2,2,2] x) => (float[I,J] y, float[K,L] z) <float[4,2,2,2] w, float[8,1] d> {{
            h = Conv <pads: ints = [1, 1, 0, 0]> (x, w)
            i, j = Split <axis: int = 1, num_outputs: int = 2> (h)
            f = Flatten (i)
            y = Gemm (f, d)
            {second}
        }}"""
    )
    optimized = moved(original)
    assert transposes(optimized.model) == [("x", "x"), ("i", "i")]
    assert "it needs the elements in their original order" in remarks(optimized)


def test_a_loop_reads_what_it_read() -> None:
    """The body of a condition reads values of the enclosing graph by name."""
    original = model(
        """g (float[1,3,4,4] x, bool b) => (float[1,4,4,4] y) <float[4,3,1,1] w> {
            h = Conv (x, w)
            y = If (b) <
                then_branch = t () => (float[1,4,4,4] u) { u = Relu (h) },
                else_branch = e () => (float[1,4,4,4] v) { v = Neg (h) }
            >
        }"""
    )
    optimized = graph_passes.optimize(original, passes=[ChannelsLast()])
    assert transposes(optimized.model) == [("x", "x"), ("h", "h")]
    assert "it is part of a loop or condition" in remarks(optimized)
    for b in (True, False):
        inputs = {"x": np.ones((1, 3, 4, 4), np.float32), "b": np.array(b)}
        for want, got in zip(oracle.run(original, inputs), oracle.run(optimized.model, inputs), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5)


def test_layouts_are_inverse() -> None:
    assert channels_last(4) == (0, 2, 3, 1)
    assert channels_first(4) == (0, 3, 1, 2)
    for rank in (4, 5, 6):
        assert [channels_last(rank)[axis] for axis in channels_first(rank)] == list(range(rank))


# Transposes that remain inside real models: the shuffles of ShuffleNet are part of the model.
SMALL = [name for name, entry in models.MODELS.items() if entry.small]
OWN = {"shufflenet": 16}
AT_THE_END = {"densenet121"}  # its output is an image of one pixel


@pytest.mark.parametrize("name", SMALL)
def test_real_models(name: str) -> None:
    if reason := models.missing(name):
        pytest.skip(reason)
    original = models.load(name)
    shapes = models.MODELS[name].input_shapes
    passes = [*graph_passes.DEFAULT_PASSES, ChannelsLast()]
    optimized = graph_passes.optimize(original, input_shapes=shapes, passes=passes).model
    left = operators(optimized)
    assert left["Transpose"] == 1 + OWN.get(name, 0) + (name in AT_THE_END)
    assert not left.keys() & {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool"}
    inputs = models.random_inputs(original, shapes)
    for want, got in zip(oracle.run(original, inputs), oracle.run(optimized, inputs), strict=True):
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@settings(max_examples=40, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(["image"], dynamic=False))
def test_random_networks(original: onnx.ModelProto) -> None:
    """After the default passes."""
    before = graph_passes.optimize(original).model
    moved(before)


def test_a_reduction_of_what_has_no_known_rank_is_left() -> None:
    original = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 18]>
        g (float[1,4,8,8] x, int64[K] s) => (float[A,B,C,D] y) <int64[1] axis = {1}, float[4,4,1,1] w> {
            h = Conv (x, w)
            r = Reshape (h, s)
            y = ReduceMean (r, axis)
        }"""
    )
    weight = onnx.numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w")
    original.graph.initializer.append(weight)
    del original.graph.value_info[:]
    optimized = graph_passes.optimize(original, passes=["channels_last"])
    assert "ReduceMean" in [node.op_type for node in optimized.model.graph.node]
