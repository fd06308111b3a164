"""Images of one and three axes: what they become, where they are converted, and what keeps its axes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graph_passes
from graph_passes.two_axes import OF_ONE_AXIS, OF_VOLUMES, TwoAxes
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass

CONVERTING = ("Squeeze", "Unsqueeze", "Reshape", "Transpose")


def ranks(proto: onnx.ModelProto, *op_types: str) -> set[int]:
    """Returns the ranks of the first inputs of these operators, as onnx infers them."""
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
    shapes = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
    return {shapes[node.input[0]] for node in proto.graph.node if node.op_type in op_types}


def converting(proto: onnx.ModelProto) -> dict[str, int]:
    return {name: count for name, count in operators(proto).items() if name in CONVERTING}


@dataclass(frozen=True)
class Between:
    """Statements between two convolutions, from h (2, 4, 12) to t with 4 channels."""

    statements: str
    weights: str = ""
    kept: bool = False  # whether images are converted in between
    arrays: Mapping[str, object] = field(default_factory=dict)


BETWEEN = {
    "activation": Between("t = Relu (h)"),
    "activation of parts": Between("e = Erf (h) f = Mul (e, h) t = Clip (f, low, high)", "float low, float high"),
    "operand per channel": Between("t = Mul (h, s)", "float[4,1] s"),
    "operand per position": Between("t = Add (s, h)", "float[12] s"),
    "operand of all dimensions": Between("t = Mul (h, s)", "float[1,4,12] s"),
    "operand that is computed": Between("s = ReduceMean (h, one) t = Sub (h, s)", "int64[1] one",
                                        arrays={"one": [2]}),
    "operand of fewer dimensions": Between("s = ReduceMax <keepdims: int = 0> (h, one) t = Add (h, s)",
                                           "int64[1] one", arrays={"one": [0]}),
    "gate": Between("p = GlobalAveragePool (h) g = Sigmoid (p) t = Mul (h, g)"),
    "normalization": Between("t = BatchNormalization (h, s, b, m, variance)",
                             "float[4] s, float[4] b, float[4] m, float[4] variance"),
    "instance normalization": Between("t = InstanceNormalization (h, s, b)", "float[4] s, float[4] b"),
    "pooling": Between("t = MaxPool <kernel_shape: ints = [3], strides: ints = [2], pads: ints = [1, 0]> (h)"),
    "mean pooling": Between('t = AveragePool <kernel_shape: ints = [3], auto_pad: string = "SAME_UPPER"> (h)'),
    "concat of parts": Between("a, b = Split <axis: int = 1, num_outputs: int = 2> (h)"
                               " t = Concat <axis: int = 1> (b, a)"),
    "concat along the axis": Between("t = Concat <axis: int = -1> (h, h)"),
    "pad": Between("t = Pad (h, sides)", "int64[6] sides", arrays={"sides": [0, 0, 2, 0, 0, 1]}),
    "reflected pad of an axis": Between('t = Pad <mode: string = "reflect"> (h, sides, , axis)',
                                        "int64[2] sides, int64[1] axis", arrays={"sides": [2, 3], "axis": [-1]}),
    "slice": Between("t = Slice (h, first, last, axis, step)",
                     "int64[1] first, int64[1] last, int64[1] axis, int64[1] step",
                     arrays={"first": [1], "last": [9], "axis": [2], "step": [2]}),
    "softmax": Between("t = Softmax <axis: int = 1> (h)"),
    "resize": Between('t = Resize <mode: string = "linear"> (h, , scales)', "float[3] scales",
                      arrays={"scales": [1, 1, 2]}),
    "resize to sizes": Between("t = Resize (h, , , sizes)", "int64[3] sizes", arrays={"sizes": [2, 4, 20]}),
    "resize of an axis": Between("t = Resize <axes: ints = [2]> (h, , scales)", "float[1] scales",
                                 arrays={"scales": [1.5]}),
    "expand": Between("t = Expand (h, shape)", "int64[3] shape", arrays={"shape": [1, 4, 12]}),
    "tile": Between("t = Tile (h, times)", "int64[3] times", arrays={"times": [1, 1, 2]}),
    "transposed convolution": Between("t = ConvTranspose <strides: ints = [2], output_padding: ints = [1]> (h, u, b)",
                                      "float[4,4,3] u, float[4] b"),
    "groups": Between("t = Conv <group: int = 4, dilations: ints = [2], pads: ints = [2, 2]> (h, d)",
                      "float[4,1,3] d"),
    "weight that is computed": Between("d = Mul (w, two) t = Conv (h, d)", "float two"),
    "norms": Between("a = ReduceL2 (h, axis) b = ReduceLogSumExp (h, axis) c = Mul (a, b) t = Div (h, c)",
                     "int64[1] axis", arrays={"axis": [1]}),
    # What has another order of elements is converted.
    "tokens": Between("a = Transpose <perm: ints = [0, 2, 1]> (h) c = MatMul (a, m) "
                      "t = Transpose <perm: ints = [0, 2, 1]> (c)", "float[4,4] m", kept=True),
    "product": Between("t = MatMul (h, m)", "float[12,12] m", kept=True),
    "cumulative sum": Between("t = CumSum (h, axis)", "int64 axis", kept=True, arrays={"axis": 2}),
}  # fmt: skip


def between(case: Between) -> onnx.ModelProto:
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in case.arrays.items()}
    declared = f"float[4,4,3] w, float[4] b1, float[3,4,1] v{', ' * bool(case.weights)}{case.weights}"
    return model(
        f"g (float[2,4,12] x) => (float[2,3,l] y) <{declared}> {{"
        f" h = Conv <pads: ints = [1, 1]> (x, w, b1) {case.statements} y = Conv (t, v) }}",
        opset=18,
        **arrays,
    )


@pytest.mark.parametrize("name", BETWEEN)
def test_operators_between_convolutions_follow(name: str) -> None:
    case = BETWEEN[name]
    changed = run_pass(between(case), TwoAxes()).model
    assert ranks(changed, *OF_ONE_AXIS) == {4}
    if not case.kept:
        unneeded = {"Unsqueeze": 1 + ("weight that" in name) + ("of fewer" in name), "Squeeze": 1}
        assert converting(changed) == unneeded, "images are converted at the ends only"


@st.composite
def windows(draw: st.DrawFn) -> tuple[str, int, tuple[int, ...], int]:
    """Draws an operator over a window of one axis: its statement, its channels, its weight, and the length of x."""
    kind = draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"]))
    kernel, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    attributes = {"kernel_shape": [kernel], "strides": [stride]}
    reach = (kernel - 1) * dilation + 1
    most = (kernel if kind.endswith("Pool") else reach) - 1
    attributes["pads"] = [draw(st.integers(0, most)), draw(st.integers(0, most))]
    if kind in ("Conv", "ConvTranspose", "MaxPool"):
        attributes["dilations"] = [dilation]
    groups = draw(st.sampled_from([1, 1, 2]))
    length = draw(st.integers(reach + 2, 14)) if kind != "ConvTranspose" else draw(st.integers(reach + 2, 9))
    if kind == "ConvTranspose" and stride > 1 and draw(st.booleans()):
        attributes["output_padding"] = [stride - 1]
    text = ", ".join(f"{name}: ints = {numbers}" for name, numbers in attributes.items())
    if kind.endswith("Pool"):
        return f"{kind} <{text}> (x)", 4, (), length
    inner = (6, 4 // groups, kernel) if kind == "Conv" else (4, 6 // groups, kernel)
    return f"{kind} <{text}, group: int = {groups}> (x, w)", 6, inner, length


@settings(max_examples=150, deadline=None)
@given(windows())
def test_windows_of_one_axis(drawn: tuple[str, int, tuple[int, ...], int]) -> None:
    statement, channels, weight, length = drawn
    declared = f"<float[{','.join(map(str, weight))}] w>" if weight else ""
    original = model(f"g (float[2,4,{length}] x) => (float[2,{channels},l] y) {declared} {{ y = {statement} }}")
    changed = run_pass(original, TwoAxes()).model
    assert ranks(changed, *OF_ONE_AXIS) == {4}
    assert converting(changed) == {"Unsqueeze": 1, "Squeeze": 1}


def test_indices_of_maxima_are_the_same() -> None:
    original = model(
        "g (float[2,4,12] x) => (float[2,4,6] y, int64[2,4,6] i)"
        "{ y, i = MaxPool <kernel_shape: ints = [2], strides: ints = [2]> (x) }"
    )
    run_pass(original, TwoAxes())


@pytest.mark.parametrize(
    ("statements", "kinds"),
    [
        ("f = Flatten (h) y = MatMul (f, m)", {"Unsqueeze": 1, "Reshape": 1}),
        ("p = GlobalAveragePool (h) f = Squeeze (p, two) y = MatMul (f, n)", {"Unsqueeze": 1, "Reshape": 1}),
        ("f = ReduceMean <keepdims: int = 0> (h, two) y = MatMul (f, n)", {"Unsqueeze": 1}),
        ("t = Transpose <perm: ints = [2, 0, 1]> (h) y = MatMul (t, n)",
         {"Unsqueeze": 1, "Transpose": 1, "Reshape": 1}),
        ("u = Unsqueeze (h, two) c = Conv (u, k) y = Relu (c)", {"Unsqueeze": 1}),
    ],
    ids=["flattened", "pooled", "mean", "recurrent", "image"],
)  # fmt: skip
def test_the_end_of_a_network_needs_no_other_conversion(statements: str, kinds: Mapping[str, int]) -> None:
    original = model(
        f"g (float[2,4,12] x) => (float[a,b] y) <float[4,4,3] w, float[48,5] m, float[4,5] n, float[4,4,1,1] k,"
        f" int64[1] two> {{ h = Conv <pads: ints = [1, 1]> (x, w) {statements} }}".replace(
            "float[a,b] y", "float[a,b,c] y" if "perm" in statements else "float[a,b,c,d] y" if "(u" in statements
            else "float[a,b] y"),
        two=np.array([2]),
    )  # fmt: skip
    assert converting(run_pass(original, TwoAxes()).model) == kinds


def test_sizes_that_vary_stay_symbols() -> None:
    original = model("g (float[N,4,L] x) => (float[N,3,M] y) <float[3,4,3] w> { h = Conv (x, w) y = Relu (h) }")
    changed = graph_passes.optimize(original, passes=[TwoAxes()]).model
    onnx.checker.check_model(changed, full_check=True)
    assert ranks(changed, "Conv", "Relu") == {4}
    for n, length in ((1, 9), (3, 17)):
        x = np.random.default_rng(n).standard_normal((n, 4, length), np.float32)
        np.testing.assert_allclose(oracle.run(changed, {"x": x})[0], oracle.run(original, {"x": x})[0], atol=1e-5)


@pytest.mark.parametrize("statement", ["y = Relu (h)", "y = Mul (h, s)", "y = PRelu (h, s)", "y = Add (r, h)"])
def test_images_of_one_pixel_and_channel(statement: str) -> None:
    original = model(
        "g (float[1,2,4] x, float[1,1,1] r) => (float[1,1,1] y) <float[1,2,4] w, float[1,1,1] s>"
        f" {{ h = Conv (x, w) {statement} }}"
    )
    assert ranks(run_pass(original, TwoAxes()).model, "Conv", "Relu", "Mul", "PRelu", "Add") == {4}


def test_what_reads_no_changed_image_keeps_its_axes() -> None:
    original = model("g (float[2,4,12] x) => (float[2,4,12] y) { h = Relu (x) y = Softmax (h) }")
    assert operators(run_pass(original, TwoAxes()).model) == operators(original)


def test_an_older_opset_is_a_remark() -> None:
    original = model("g (float[1,4,12] x) => (float[1,3,10] y) <float[3,4,3] w> { y = Conv (x, w) }", opset=12)
    optimized = graph_passes.optimize(original, passes=[TwoAxes()])
    assert ranks(optimized.model, "Conv") == {3}
    assert "at least 18" in remarks(optimized)


@st.composite
def volumes(draw: st.DrawFn) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Draws an operator over a window of three axes: its statement, its weight, and the sizes of x."""
    kind = draw(st.sampled_from(["Conv", "Conv", "MaxPool", "AveragePool"]))
    three = st.tuples(*[st.integers(1, 3)] * 3)
    kernel, strides = draw(three), draw(three)
    dilations = draw(st.tuples(*[st.integers(1, 2)] * 3)) if kind == "Conv" else (1, 1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    most = kernel if kind != "Conv" else reach
    pads = [draw(st.integers(0, most[axis % 3] - 1)) for axis in range(6)]
    if kind == "AveragePool" and not draw(st.booleans()):
        pads[0] = pads[3] = 0
    counted = int(kind == "AveragePool" and bool(pads[0] or pads[3]))
    sizes = tuple(r + draw(st.integers(0, 4)) for r in reach)
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    attributes = f"kernel_shape: ints = {list(kernel)}, strides: ints = {list(strides)}, pads: ints = {pads}"
    if kind == "AveragePool":
        attributes += f", count_include_pad: int = {counted}"
    if kind != "Conv":
        return f"{kind} <{attributes}> (x)", (), sizes
    attributes += f", dilations: ints = {list(dilations)}, group: int = {groups}"
    return f"Conv <{attributes}> (x, w, b)", (8, 4 // groups, *kernel), sizes


@settings(max_examples=150, deadline=None)
@given(volumes())
def test_windows_of_three_axes(drawn: tuple[str, tuple[int, ...], tuple[int, ...]]) -> None:
    statement, weight, sizes = drawn
    declared = f"<float[{','.join(map(str, weight))}] w, float[8] b>" if weight else ""
    channels = 8 if weight else 4
    original = model(
        f"g (float[1,4,{','.join(map(str, sizes))}] x) => (float[1,{channels},d,h,w] y) {declared}"
        f" {{ y = {statement} }}"
    )
    changed = run_pass(original, TwoAxes()).model
    assert ranks(changed, *OF_VOLUMES) == {4}


def test_a_network_of_volumes_is_converted_at_its_ends_only() -> None:
    original = model(
        "g (float[1,2,6,8,9] x) => (float[1,5] y)"
        " <float[4,2,3,3,3] w1, float[4] b1, float[4,4,3,3,3] w2, float[1,4,1,1,1] s, float[4,5] m, int64[3] axes> {"
        " a = Conv <pads: ints = [1, 1, 1, 1, 1, 1]> (x, w1, b1) c = Relu (a) d = Mul (c, s)"
        " e = Conv <pads: ints = [1, 1, 1, 1, 1, 1]> (d, w2) f = Add (e, d)"
        " p = MaxPool <kernel_shape: ints = [2, 2, 2], strides: ints = [2, 2, 2]> (f)"
        " q = GlobalAveragePool (p) r = Squeeze (q, axes) y = MatMul (r, m) }",
        axes=np.array([2, 3, 4]),
    )
    changed = run_pass(original, TwoAxes()).model
    assert converting(changed) == {"Transpose": 2, "Squeeze": 2, "Unsqueeze": 1}


# Between two convolutions of volumes, from h (1, 4, 3, 5, 6) to t with 4 channels.
BETWEEN_VOLUMES = {
    "activation": Between("e = Erf (h) f = Mul (e, h) t = Clip (f, low, high)", "float low, float high"),
    "operand per channel": Between("t = Mul (h, s)", "float[4,1,1,1] s"),
    "operand per layer": Between("t = Add (s, h)", "float[3,1,1] s"),
    "operand of all dimensions": Between("t = Mul (h, s)", "float[1,4,3,5,6] s"),
    "operand that is computed": Between("s = ReduceMax (h, axes) t = Sub (h, s)", "int64[2] axes",
                                        arrays={"axes": [2, 4]}),
    "operand of fewer dimensions": Between("s = ReduceMax <keepdims: int = 0> (h, axes) t = Add (h, s)",
                                           "int64[2] axes", arrays={"axes": [0, 1]}),
    "gate": Between("p = GlobalAveragePool (h) g = Sigmoid (p) t = Mul (h, g)"),
    "largest": Between("p = GlobalMaxPool (h) t = Mul (h, p)"),
    "normalization": Between("t = BatchNormalization (h, s, b, m, variance)",
                             "float[4] s, float[4] b, float[4] m, float[4] variance"),
    "instance normalization": Between("t = InstanceNormalization (h, s, b)", "float[4] s, float[4] b"),
    "mean and variance": Between("t = MeanVarianceNormalization <axes: ints = [0, 2, 3, 4]> (h)"),
    "concat of parts": Between("a, b = Split <axis: int = 1, num_outputs: int = 2> (h)"
                               " t = Concat <axis: int = 1> (b, a)"),
    "concat along the depth": Between("t = Concat <axis: int = -3> (h, h)"),
    "concat of a batch": Between("b = Concat <axis: int = 0> (h, h) t = ReduceSum (b, axes)", "int64[1] axes",
                                 arrays={"axes": [0]}),
    "split of the depth": Between("a, b = Split <axis: int = 2> (h, parts) t = Concat <axis: int = 2> (b, a)",
                                  "int64[2] parts", arrays={"parts": [1, 2]}),
    "pad": Between("t = Pad (h, sides)", "int64[10] sides", arrays={"sides": [0, 0, 2, 0, 1, 0, 0, 1, 2, 0]}),
    "reflected pad": Between('t = Pad <mode: string = "reflect"> (h, sides, , axes)', "int64[4] sides, int64[2] axes",
                             arrays={"sides": [2, 3, 1, 0], "axes": [2, -1]}),
    "slice": Between("t = Slice (h, first, last, axis, step)",
                     "int64[2] first, int64[2] last, int64[2] axis, int64[2] step",
                     arrays={"first": [0, 5], "last": [3, 0], "axis": [2, -1], "step": [2, -1]}),
    "softmax of channels": Between("t = Softmax <axis: int = 1> (h)"),
    "softmax of the depth": Between("t = Softmax <axis: int = 2> (h)"),
    "softmax of the width": Between("t = Softmax (h)"),
    "resize": Between('t = Resize <mode: string = "linear"> (h, , scales)', "float[5] scales",
                      arrays={"scales": [1, 1, 2, 2, 2]}),
    "expand": Between("t = Expand (h, shape)", "int64[5] shape", arrays={"shape": [1, 4, 3, 5, 6]}),
    "tile": Between("t = Tile (h, times)", "int64[5] times", arrays={"times": [1, 1, 2, 1, 1]}),
    "flattened": Between("f = Reshape (h, flat) s = Softmax (f) t = Reshape (s, volume)",
                         "int64[2] flat, int64[5] volume", arrays={"flat": [4, 90], "volume": [1, 4, 3, 5, 6]}),
    "turned": Between("a = Transpose <perm: ints = [0, 1, 3, 4, 2]> (h) t = Relu (a)"),
    "transposed convolution": Between("t = ConvTranspose <strides: ints = [2, 1, 2]> (h, u, b)",
                                      "float[4,4,3,2,2] u, float[4] b"),
    "groups": Between("t = Conv <group: int = 4, dilations: ints = [1, 2, 1], pads: ints = [1, 2, 0, 1, 2, 0]> (h, d)",
                      "float[4,1,3,3,1] d"),
    "norms": Between("a = ReduceL2 (h, axes) b = ReduceLogSumExp (h, axes) c = Mul (a, b) t = Div (h, c)",
                     "int64[2] axes", arrays={"axes": [1, 3]}),
}  # fmt: skip


@pytest.mark.parametrize("name", BETWEEN_VOLUMES)
def test_operators_between_convolutions_of_volumes(name: str) -> None:
    case = BETWEEN_VOLUMES[name]
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in case.arrays.items()}
    declared = f"float[4,4,3,3,3] w, float[4] b1, float[3,4,1,1,1] v{', ' * bool(case.weights)}{case.weights}"
    original = model(
        f"g (float[1,4,3,5,6] x) => (float[1,3,d,l,k] y) <{declared}> {{"
        f" h = Conv <pads: ints = [1, 1, 1, 1, 1, 1]> (x, w, b1) {case.statements} y = Conv (t, v) }}",
        opset=18,
        **arrays,
    )
    changed = run_pass(original, TwoAxes()).model
    assert ranks(changed, "Conv") == {4}


def test_volumes_of_a_batch_keep_their_axes() -> None:
    original = model("g (float[2,4,5,6,7] x) => (float[2,3,3,4,5] y) <float[3,4,3,3,3] w> { y = Conv (x, w) }")
    assert operators(run_pass(original, TwoAxes()).model) == operators(original)


@pytest.mark.parametrize(
    ("statement", "follows"),
    [
        ("t = BatchNormalization (h, s, b, m, variance)", True),
        ("t = Clip (h, low, high)", True),
        ("t = Softmax <axis: int = 1> (h)", True),
        ("t = LpNormalization <axis: int = 2> (h)", True),
        ("t = Concat <axis: int = 2> (h, h)", True),
        ("a, c = Split <axis: int = 2, num_outputs: int = 2> (h) t = Sub (a, c)", True),
        ("a = ReduceMax (h, depth) t = Sub (h, a)", True),
        ("a = ReduceMean (h, all) t = Sub (h, a)", True),
        ("t = Pad (h, sides, , depth)", True),
        ("t = Slice (h, first, last, depth)", True),
        # These read all layers of a volume.
        ("t = InstanceNormalization (h, s, b)", False),
        ("t = MeanVarianceNormalization <axes: ints = [0, 2, 3, 4]> (h)", False),
    ],
)
def test_operators_on_volumes(statement: str, follows: bool) -> None:
    original = model(
        "g (float[1,3,4,5,6] x) => (float[1,2,d,5,6] y) <float[4,3,3,3,3] w, float[2,4,1,1,1] v, float[4] s,"
        " float[4] b, float[4] m, float[4] variance, float low, float high, int64[1] depth, int64[3] all,"
        " int64[2] sides, int64[1] first, int64[1] last> {"
        f" h = Conv <pads: ints = [1, 1, 1, 1, 1, 1]> (x, w) {statement} y = Conv (t, v) }}",
        opset=21,
        low=-0.5, high=0.5, depth=[2], all=[2, 3, 4], sides=[1, 2], first=[1], last=[3],
    )  # fmt: skip
    changed = run_pass(original, TwoAxes()).model
    assert ranks(changed, "Conv") == {4}
    assert (converting(changed)["Transpose"] == 2) == follows, "volumes are converted at the ends only"
