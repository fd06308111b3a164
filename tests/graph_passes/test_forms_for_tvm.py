"""Forms that TVM's importer rejects or computes incorrectly become others with the same answers; the rest stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

import graph_passes
from graph_passes.forms_for_tvm import FORMS
from tests.graph_passes import oracle
from tests.graph_passes.models import model, operators, remarks, run_pass

NAME = "forms_for_tvm"


def dft(attributes: str = "", opset: int = 19, complex_: bool = False, length: str = "") -> onnx.ModelProto:
    head = f"n = Constant <value = int64 {{{length}}}> ()" if length else ""
    inputs = "x, n" if length else "x"
    sizes = f"2, 6, {2 if complex_ else 1}"
    return model(f"g (float[{sizes}] x) => (float[A, B, 2] y) {{ {head} y = DFT {attributes} ({inputs}) }}", opset)


def windowed(attributes: str = "", length: str = "") -> onnx.ModelProto:
    head = f"n = Constant <value = int64 {{{length}}}> ()" if length else ""
    inputs = "x, step, window, n" if length else "x, step, window"
    return model(
        f"""g (float[2, 20, 1] x) => (float[2, A, B, 2] y) <float[8] window> {{
            step = Constant <value = int64 {{3}}> () {head}
            y = STFT {attributes} ({inputs})
        }}""",
        window=np.hanning(8),
    )


def col2im(image: tuple[int, ...], block: tuple[int, ...], columns: int, attributes: str = "") -> onnx.ModelProto:
    rank = len(image)
    return model(
        f"""g (float[2, {3 * int(np.prod(block))}, {columns}] x) => (float[2, 3, {", ".join("ABC"[:rank])}] y)
        <int64[{rank}] image, int64[{rank}] block>
        {{ y = Col2Im {attributes} (x, image, block) }}""",
        image=np.array(image),
        block=np.array(block),
    )


def one_hot(axis: int, kind: str = "float") -> onnx.ModelProto:
    return model(
        f"""g (float[3, 4] x) => (float[{", ".join("ABC")}] y) <int64 depth, {kind}[2] values> {{
            i = Cast <to = 7> (x)
            h = OneHot <axis = {axis}> (i, depth, values)
            y = Cast <to = 1> (h)
        }}""",
        depth=3,
        values=np.array([1, 5]),
    )


def scattered(known: bool) -> onnx.ModelProto:
    """With indices of data, they are -2, -1, 0 or 1, by the signs and sizes of x."""
    head = "" if known else "s = Sign (x)  f = Floor (s)  i = Cast <to = 7> (f)"
    text = f"""g (float[3, 4] x) => (float[3, 4] y) <{"int64[3, 4] i, " if known else ""}float[3, 4] z> {{
        {head}
        y = ScatterElements <axis = 1, reduction = "add"> (z, i, x)
    }}"""
    return model(text, i=np.tile([-1, 0, -2, 1], (3, 1))) if known else model(text)


def sliced(starts: Sequence[int], ends: Sequence[int], steps: Sequence[int], shape: str = "A, B") -> onnx.ModelProto:
    return model(
        f"""g (float[5, 6] x) => (float[{shape}] y, float[5, 6] z) <int64[2] s, int64[2] e, int64[2] a, int64[2] t> {{
            y = Slice (x, s, e, a, t)
            z = Neg (x)
        }}""",
        s=np.array(starts),
        e=np.array(ends),
        a=np.array([0, -1]),
        t=np.array(steps),
    )


def max_pool(attributes: str) -> onnx.ModelProto:
    return model(
        "g (float[2, 3, 6, 7] x) => (float[2, 3, A, B] y, int64[2, 3, A, B] i)"
        f" {{ y, i = MaxPool <{attributes} kernel_shape = [2, 3]> (x) }}"
    )


def same_size(op: str, half: str) -> onnx.ModelProto:
    return model(
        "g (float[2, 3, 5, 7] x) => (float[2, 3, A, B] y)"
        f' {{ y = {op} <kernel_shape = [3, 2], strides = [3, 2], auto_pad = "SAME_{half}"> (x) }}'
    )


def transposed(sizes: Sequence[int], attributes: str) -> onnx.ModelProto:
    return model(
        "g (float[1, 2, 4, 4] x) => (float[1, 3, A, B] y) <float[2, 3, 3, 3] w>"
        f" {{ y = ConvTranspose <strides = [2, 2], output_shape = {sizes}{attributes}> (x, w) }}"
    )


# Models in which the operator at the head of the name must disappear or lose the form.
MODELS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "Pow of another type": lambda: model("g (float[4] x) => (float[4] y) <int64 n> { y = Pow (x, n) }", n=3),
    "Pow of integers": lambda: model(
        "g (float[4] x) => (float[4] y) <int64 n> { a = Cast <to = 7> (x)  b = Pow (a, n)  y = Cast <to = 1> (b) }", n=3
    ),
    "Pow of integers and numbers": lambda: model(
        "g (float[4] x) => (float[4] y) <float e> {"
        " a = Cast <to = 7> (x)  b = Abs (a)  c = Pow (b, e)  y = Cast <to = 1> (c) }",
        e=1.5,
    ),
    "Mish": lambda: model("g (float[4] x) => (float[4] y) <float f> { a = Mul (x, f)  y = Mish (a) }", f=50),
    "Elu in double": lambda: model(
        "g (float[9] x) => (double[9] y) { a = Cast <to = 11> (x)  y = Elu <alpha = 0.5> (a) }"
    ),
    "Selu in double": lambda: model("g (float[9] x) => (double[9] y) { a = Cast <to = 11> (x)  y = Selu (a) }"),
    "Celu": lambda: model("g (float[9] x) => (float[9] y) { y = Celu <alpha = 0.5> (x) }"),
    "LpNormalization": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) { y = LpNormalization <axis = 0, p = 1> (x) }"
    ),
    "LpNormalization of zeros": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) <float[3, 1] m> { a = Mul (x, m)  y = LpNormalization (a) }",
        m=np.array([[1], [0], [2]]),
    ),
    "BatchNormalization in training": lambda: model(
        "g (float[3, 4, 5] x) => (float[3, 4, 5] y, float[4] m, float[4] v)"
        " <float[4] s, float[4] b, float[4] mean, float[4] variance>"
        " { y, m, v = BatchNormalization <training_mode = 1, momentum = 0.8> (x, s, b, mean, variance) }"
    ),
    **{
        f"MaxPool with indices, {name}": partial(max_pool, attributes)
        for name, attributes in {
            "plain": "",
            "strides": "strides = [2, 2], ",
            "pads": "pads = [1, 1, 1, 1], ",
            "dilations": "dilations = [2, 1], ",
            "rounded up": "strides = [2, 2], ceil_mode = 1, ",
            "columns first": "storage_order = 1, ",
            "the same size": 'auto_pad = "SAME_LOWER", ',
        }.items()
    },
    **{
        f"{op} of the same size, {half}": partial(same_size, op, half)
        for op in ("AveragePool", "LpPool", "MaxPool")
        for half in ("UPPER", "LOWER")
    },
    "OneHot": lambda: one_hot(-1),
    "OneHot of a middle axis": lambda: one_hot(1),
    "OneHot of integers": lambda: one_hot(-3, "int64"),
    "ScatterElements": lambda: scattered(known=False),
    "ScatterElements, constant": lambda: scattered(known=True),
    "ScatterElements of few": lambda: model(
        "g (float[2, 3] x) => (float[4, 5] y) <int64[2, 3] i, float[4, 5] z>"
        " { y = ScatterElements <axis = 1> (z, i, x) }",
        i=np.array([[0, -1, 2], [1, 3, 4]]),
    ),
    "Slice backwards": lambda: sliced([4, -1], [-9, 1], [-1, -2]),
    "Slice backwards and forwards": lambda: sliced([3, 1], [0, 5], [-2, 2]),
    "Slice of nothing": lambda: sliced([3, 1], [1, 5], [1, 1], "0, B"),
    "Split with nothing": lambda: model(
        "g (float[5, 6] x) => (float[2, 6] a, float[0, 6] b, float[3, 6] c) <int64[3] n>"
        " { a, b, c = Split <axis = 0> (x, n) }",
        n=np.array([2, 0, 3]),
    ),
    "Equal of booleans": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) <float z, float u> {"
        " a = Less (x, z)  b = Less (x, u)  e = Equal (a, b)  y = Cast <to = 1> (e) }",
        z=0,
        u=0.5,
    ),
    "Pad with an unused value": lambda: model(
        "g (float[3, 4] x, float v) => (float[5, 6] y) <int64[4] pads> {"
        ' w = Neg (v)  y = Pad <mode = "edge"> (x, pads, w) }',
        pads=np.array([1, 1, 1, 1]),
    ),
    "LayerNormalization in double": lambda: model(
        "g (float[3, 4] x) => (double[3, 4] y) <double[4] s> { a = Cast <to = 11> (x)  y = LayerNormalization (a, s) }"
    ),
    "LayerNormalization with a broadcast scale": lambda: model(
        "g (float[3, 4, 5] x) => (float[3, 4, 5] y) <float[5] s, float[4, 5] b>"
        " { y = LayerNormalization <axis = 1> (x, s, b) }"
    ),
    **{
        f"ConvTranspose to {sizes}": partial(transposed, sizes, attributes)
        for sizes, attributes in (
            ([9, 9], ""),
            ([8, 7], ""),
            ([8, 7], ', auto_pad = "SAME_UPPER"'),
            ([10, 9], ""),
            ([9, 8], ", output_padding = [1, 0]"),
        )
    },
    "ThresholdedRelu": lambda: model("g (float[9] x) => (float[9] y) { y = ThresholdedRelu <alpha = 0.5> (x) }"),
    "ReduceMax of booleans": lambda: model(
        "g (float[3, 4] x) => (float[3, 1] y) <float z, int64[1] axes> {"
        " a = Greater (x, z)  b = ReduceMax (a, axes) y = Cast <to = 1> (b) }",
        opset=20,
        z=0,
        axes=np.array([1]),
    ),
    "LayerNormalization with a mean": lambda: model(
        "g (float[3, 4, 5] x) => (float[3, 4, 5] y, float[3, 1, 1] m, float[3, 1, 1] d)"
        " <float[4, 5] s, float[4, 5] b> { y, m, d = LayerNormalization <axis = 1> (x, s, b) }"
    ),
    "ReverseSequence": lambda: model(
        "g (float[4, 3, 2] x) => (float[4, 3, 2] y) <int64[3] n> { y = ReverseSequence (x, n) }", n=np.array([1, 4, 2])
    ),
    "ReverseSequence, batch first": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) <int64[3] n> {"
        " y = ReverseSequence <time_axis = 1, batch_axis = 0> (x, n) }",
        n=np.array([1, 4, 2]),
    ),
    "Col2Im": lambda: col2im((5, 6), (2, 3), 16),
    "Col2Im with strides and pads": lambda: col2im((5, 5), (3, 3), 9, "<strides = [2, 2], pads = [1, 1, 1, 1]>"),
    "Col2Im with dilations": lambda: col2im((6, 6), (2, 2), 16, "<dilations = [2, 2]>"),
    "Col2Im of a line": lambda: col2im((7,), (3,), 5),
    "EyeLike": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) { e = EyeLike <k = 1, dtype = 1> (x)  y = Add (e, x) }"
    ),
    "DFT": dft,
    "DFT, one side": lambda: dft("<onesided = 1>"),
    "DFT, complex": lambda: dft(complex_=True),
    "DFT, inverse": lambda: dft("<inverse = 1>", complex_=True),
    "DFT, padded": lambda: dft(length="8"),
    "DFT, cut": lambda: dft(length="4", complex_=True),
    "DFT of another axis": lambda: dft("<axis = 0>"),
    "DFT of opset 20": lambda: dft(opset=20),
    "STFT": windowed,
    "STFT, both sides": lambda: windowed("<onesided = 0>", length="8"),
    "Resize to a rounded size": lambda: resized((1, 2, 5, 7), {"scales": [1, 1, 0.6, 0.6]}, mode="linear"),
    "Resize of a matrix": lambda: resized((5, 7), {"sizes": [8, 3]}, mode="cubic"),
}


def resized(shape: tuple[int, ...], given_sizes: Mapping[str, Any], **attributes: Any) -> onnx.ModelProto:
    """A Resize of x, whose ``scales``, ``sizes`` or ``roi`` are constants."""
    kinds = {"roi": onnx.TensorProto.FLOAT, "scales": onnx.TensorProto.FLOAT, "sizes": onnx.TensorProto.INT64}
    tensors = [helper.make_tensor(name, kinds[name], [len(v)], list(v)) for name, v in given_sizes.items()]
    names = [name if name in given_sizes else "" for name in kinds]
    node = helper.make_node("Resize", ["x", *names], ["y"], **attributes)
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [y], tensors)
    made = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 19)])
    return onnx.shape_inference.infer_shapes(made)


# In another form.
STAY = ("AveragePool", "ConvTranspose", "LpPool", "MaxPool", "Pad", "Pow", "ReduceMax", "ScatterElements")


@pytest.mark.parametrize("name", MODELS)
def test_a_form(name: str) -> None:
    original = MODELS[name]()
    found = operators(run_pass(original, NAME).model)
    op = name.split()[0].rstrip(",")
    assert op in FORMS
    if op not in STAY:
        assert op not in found


def test_half_precision() -> None:
    """Within two steps of float16: ONNX Runtime rounds in another place."""
    text = "g (float[9] x) => (float[9] y) { a = Cast <to = 10> (x)  b = Atan (a)  y = Cast <to = 1> (b) }"
    original = model(text)
    optimized = graph_passes.optimize(original, passes=[NAME])
    assert operators(optimized.model)["Cast"] == 4
    inputs = {"x": np.linspace(-4, 4, 9, dtype=np.float32)}
    (want,), (got,) = oracle.run(original, inputs), oracle.run(optimized.model, inputs)
    np.testing.assert_allclose(got, want, rtol=2.0**-9)


def test_swish() -> None:
    """ONNX Runtime has it in no version yet, except as its definition."""
    original = model("g (float[9] x) => (float[9] y) { y = Swish <alpha = 0.5> (x) }", opset=24)
    optimized = graph_passes.optimize(original, passes=[NAME])
    x = np.linspace(-4, 4, 9, dtype=np.float32)
    np.testing.assert_allclose(oracle.run(optimized.model, {"x": x})[0], x / (1 + np.exp(-0.5 * x)), rtol=1e-6)


def test_rms_normalization() -> None:
    """ONNX Runtime has it from opset 23 on."""
    original = model(
        "g (float[3, 4, 5] x) => (float[3, 4, 5] y) <float[5] s> { y = RMSNormalization (x, s) }", opset=23
    )
    optimized = graph_passes.optimize(original, passes=[NAME])
    assert "RMSNormalization" not in operators(optimized.model)
    oracle.assert_same(original, optimized.model, oracle.random_inputs(original, 0))


@pytest.mark.parametrize(("negative", "positive"), [(0, 1), (1, 0), (0, 0)])
def test_infinities_of_one_sign(negative: int, positive: int) -> None:
    original = model(
        f"g (float[4] x) => (float[4] y) {{ i = IsInf <detect_negative = {negative}, detect_positive = {positive}> (x)"
        " y = Cast <to = 1> (i) }"
    )
    optimized = graph_passes.optimize(original, passes=[NAME])
    inputs = {"x": np.array([1, np.inf, -np.inf, np.nan], np.float32)}
    np.testing.assert_array_equal(oracle.run(optimized.model, inputs), oracle.run(original, inputs))
    assert operators(optimized.model) != operators(original)


def test_a_constant_holds_a_tensor() -> None:
    original = model(
        "g (float[2] x) => (int64[2] y, float z) {"
        " y = Constant <value_ints = [3, 4]> ()  z = Constant <value_float = 2.0> () }"
    )
    optimized = run_pass(original, NAME)
    names = {attribute.name for node in optimized.model.graph.node for attribute in node.attribute}
    assert names <= {"value"}


COORDINATES = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.data())
def test_every_resize(data: st.DataObject) -> None:
    """Sizes, modes and axes at random, against ONNX Runtime."""
    draw = data.draw
    rank = draw(st.sampled_from([2, 4]))
    shape = tuple(draw(st.integers(1, 7)) for _ in range(rank))
    mode = draw(st.sampled_from(["nearest", "linear", "cubic"]))
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": draw(st.sampled_from(COORDINATES))}
    if mode == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(ROUNDINGS))
    if mode == "cubic":
        attributes |= {
            "cubic_coeff_a": draw(st.sampled_from([-0.75, -0.5])),
            "exclude_outside": draw(st.integers(0, 1)),
        }
    kept = rank - 2  # ONNX Runtime resizes the last two axes by linear and cubic interpolation
    if draw(st.booleans()):
        sizes = [*shape[:kept], *(draw(st.integers(1, 12)) for _ in range(2))]
        given_sizes: dict[str, Any] = {"sizes": sizes}
    else:
        scales = [draw(st.sampled_from([0.5, 0.6, 1.0, 1.3, 2.0, 3.0])) for _ in range(2)]
        assume(all(int(size * scale) for size, scale in zip(shape[kept:], scales, strict=True)))
        given_sizes = {"scales": [*[1.0] * kept, *scales]}
    original = resized(shape, given_sizes, **attributes)
    optimized = graph_passes.optimize(original, passes=[NAME])
    onnx.checker.check_model(optimized.model, full_check=True)
    inputs = oracle.random_inputs(original, 0)
    (want,), (got,) = oracle.run(original, inputs), oracle.run(optimized.model, inputs)
    assert got.shape == want.shape
    # ONNX Runtime computes the coordinates in float32, up to 12 with 24 bits.
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * 12 * 2.0**-24 * np.abs(inputs["x"]).max())


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_a_smaller_image_without_aliasing(mode: str) -> None:
    original = resized((1, 1, 8, 9), {"scales": [1, 1, 0.4, 0.5]}, mode=mode, antialias=1)
    found = operators(run_pass(original, NAME).model)
    assert (found["Resize"], found["MatMul"]) == (0, 2)


def test_a_region() -> None:
    original = resized(
        (1, 1, 8, 9),
        {"roi": [0, 0, 0.2, -0.1, 1, 1, 0.8, 1.1], "sizes": [1, 1, 5, 6]},
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    )
    assert "Resize" not in operators(run_pass(original, NAME).model)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_an_aspect_ratio(policy: str) -> None:
    original = resized((1, 1, 4, 6), {"sizes": [7, 9]}, axes=[2, 3], keep_aspect_ratio_policy=policy)
    assert "Resize" not in operators(run_pass(original, NAME).model)


STAYS = {
    "Resize by two": lambda: resized((1, 1, 4, 6), {"scales": [1, 1, 2, 2]}, mode="linear"),
    "Elu": lambda: model("g (float[4] x) => (float[4] y) { y = Elu (x) }"),
    "LayerNormalization": lambda: model(
        "g (float[3, 4] x) => (float[3, 4] y) <float[4] s> { y = LayerNormalization (x, s) }"
    ),
    "IsInf": lambda: model("g (float[4] x) => (bool[4] y) { y = IsInf (x) }"),
    "Pow": lambda: model("g (float[4] x) => (float[4] y) <float n> { y = Pow (x, n) }", n=2),
    "ReduceMax": lambda: model("g (float[3, 4] x) => (float[1, 1] y) { y = ReduceMax (x) }"),
    "DFT of unknown size": lambda: model("g (float[1, N, 1] x) => (float[1, M, 2] y) { y = DFT (x) }", opset=19),
}


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    original = STAYS[name]()
    assert operators(graph_passes.optimize(original, passes=[NAME]).model) == operators(original)


def test_an_old_opset_stays() -> None:
    original = model("g (float[4] x) => (float[4] y) { y = ThresholdedRelu (x) }", opset=17)
    assert "opset: 17 is not supported, at least 18" in remarks(graph_passes.optimize(original, passes=[NAME]))
