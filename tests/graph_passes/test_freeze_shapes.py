"""Given sizes replace dynamic dimensions, dependent shapes are inferred, and sizes that do not fit are rejected."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import graph_passes
from graph_passes import FreezeShapes
from tests.graph_passes import oracle

Dims = list[int | str]


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> g {body}')


def frozen(model: onnx.ModelProto, batch: int = 1, **shapes: tuple[int, ...]) -> tuple[onnx.ModelProto, list[str]]:
    """Runs the pass twice. Returns the model and its remarks; the second run changes nothing."""
    optimized = graph_passes.optimize(model, shapes, [FreezeShapes(batch=batch)])
    again = graph_passes.optimize(optimized.model, shapes, [FreezeShapes(batch=batch)])
    assert [str(node) for node in again.model.graph.node] == [str(node) for node in optimized.model.graph.node]
    assert values(again.model) == values(optimized.model)
    return optimized.model, [str(remark) for remark in optimized.reports[0].remarks]


def values(model: onnx.ModelProto) -> dict[str, Dims | None]:
    """Returns the shape of each value with a type."""
    found = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    return {value.name: dims(value) for value in found if value.type.HasField("tensor_type")}


def dims(value: onnx.ValueInfoProto) -> Dims | None:
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.type.tensor_type.shape.dim]


def error_of(model: onnx.ModelProto, **shapes: tuple[int, ...]) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        graph_passes.optimize(model, shapes, ["freeze_shapes"])
    return str(caught.value)


# Sizes

TWO = parsed("(float[N, S] x, float[N, S] z) => (float[N, S] y) { s = Add(x, z)  y = Relu(s) }")


def test_a_name_has_one_size_in_all_shapes() -> None:
    model, remarks = frozen(TWO, x=(2, 5))
    assert values(model) == {"x": [2, 5], "z": [2, 5], "s": [2, 5], "y": [2, 5]}
    assert remarks == []


@pytest.mark.parametrize(
    ("shapes", "line"),
    [
        ({"x": (2, 5), "z": (2, 6)}, "dimension S is given as 5 and as 6"),
        ({"q": (2, 5)}, "a shape is given for 'q'; the model's inputs are x NxS, z NxS"),
        ({"x": (2, 5, 1)}, "shape 2x5x1 given for x has 3 dimensions; the model has x NxS, z NxS"),
        ({"x": ()}, "shape scalar given for x has 0 dimensions; the model has x NxS, z NxS"),
        ({"x": (0, 5)}, "shape 0x5 given for x has a size below 1"),
        ({"x": (-1, 5)}, "shape -1x5 given for x has a size below 1"),
    ],
)
def test_sizes_that_do_not_fit_are_rejected(shapes: dict[str, tuple[int, ...]], line: str) -> None:
    assert error_of(TWO, **shapes) == line


def test_a_size_that_is_fixed_stays_it() -> None:
    model = parsed("(float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }")
    assert error_of(model, x=(2, 4)) == "shape 2x4 given for x does not fit: dimension 1 is 3 in the model"
    assert values(frozen(model, x=(2, 3))[0]) == {"x": [2, 3], "y": [2, 3]}


@pytest.mark.parametrize("name", ["N", "n", "B", "bs", "batch", "batch_size", "BatchSize", "?"])
def test_a_batch_becomes_one_and_is_reported(name: str) -> None:
    shape = f"{name}, 3"
    model = parsed(f"(float[{shape}] x, float[{shape}] z) => (float[{shape}] y) {{ y = Add(x, z) }}")
    result, remarks = frozen(model)
    assert values(result) == {"x": [1, 3], "z": [1, 3], "y": [1, 3]}
    assert remarks[0] == f"input x: batch dimension {name} becomes 1"
    assert len(remarks) == (2 if name == "?" else 1), "a name becomes a size once, dimensions without one each"
    assert values(frozen(model, batch=4)[0])["y"] == [4, 3]
    assert frozen(model, x=(2, 3), z=(2, 3))[1] == []


def test_no_other_dimension_is_guessed() -> None:
    model = parsed("(float[batch, S] x, float[T, N] z, float[2, ?] w) => (float[batch, U] y) { y = Relu(x) }")
    result, remarks = frozen(model)
    found = values(result)
    assert (found["x"], found["z"], found["w"]) == ([1, "S"], ["T", "N"], [2, ""])
    assert remarks == [
        "input x: batch dimension batch becomes 1",
        "input x: stays dynamic in S; give its shape to freeze it",
        "input z: stays dynamic in T, N; give its shape to freeze it",
        "input w: stays dynamic in ?; give its shape to freeze it",
    ]


@pytest.mark.parametrize("size", [-1, "?", "", "None", "-1"])
def test_placeholders_of_exporters_are_dynamic_dimensions(size: int | str) -> None:
    model = parsed("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }")
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()
            if isinstance(size, int):
                dim.dim_value = size
            else:
                dim.dim_param = size
    assert values(frozen(model, x=(4, 5))[0]) == {"x": [4, 5], "y": [4, 5]}, "they are not one and the same"
    result, remarks = frozen(model)
    assert values(result)["x"] == [1, ""]
    assert remarks == [
        "input x: batch dimension ? becomes 1",
        "input x: stays dynamic in ?; give its shape to freeze it",
    ]
    assert error_of(model, x=(4,)) == "shape 4 given for x has 1 dimensions; the model has x ?x?"


def test_an_input_without_a_shape_takes_a_given_one() -> None:
    model = parsed("(float[2, 3] x) => (float[A, B] y) <float[7, 7] a> { a = Relu(x)  y = Relu(a) }")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert values(frozen(model, x=(4, 5))[0]) == {"x": [4, 5], "a": [4, 5], "y": [4, 5]}
    result, remarks = frozen(model)
    assert values(result)["x"] is None
    assert remarks == ["input x: has no shape; give it one to freeze it"]


def test_an_output_without_a_shape_or_a_type_gets_them() -> None:
    model = parsed("(float[N, 3] x) => (y, float[1] z) { y = Relu(x)  z = Neg(x) }")
    model.graph.output[1].type.tensor_type.ClearField("shape")
    result, _ = frozen(model, x=(4, 3))
    assert values(result) == {"x": [4, 3], "y": [4, 3], "z": [4, 3]}
    onnx.checker.check_model(result, full_check=True)


def test_a_sequence_is_left_as_it_is() -> None:
    model = parsed("(seq(float[N]) s, float[N] x) => (float[N] y) { y = Relu(x) }")
    result, _ = frozen(model, x=(4,))
    assert result.graph.input[0] == model.graph.input[0]
    assert error_of(model, s=(4,)).startswith("a shape is given for 's'")


# Dependent shapes


def test_all_shapes_are_inferred_again() -> None:
    """Also if the model declares other shapes, and in subgraphs."""
    model = parsed(
        "(bool c, float[N, 4] x) => (float[M, 2] y) <float[1, 4] a, float[9, 9] i> "
        "{ a = Relu(x)  s = Constant<value = int64[2] {-1, 2}>()  r = Reshape(a, s) "
        "  i = If(c) <then_branch = one () => (float[3, 3] t) { t = Neg(r) }, "
        "             else_branch = two () => (float[3, 3] e) { e = Exp(r) }>  y = Relu(i) }"
    )
    result, _ = frozen(model, x=(3, 4))
    found = values(result)
    assert (found["a"], found["r"], found["i"], found["y"]) == ([3, 4], [6, 2], [6, 2], [6, 2])
    onnx.checker.check_model(result, full_check=True)
    oracle.assert_same(model, result, {"c": np.array(True), "x": np.arange(12, dtype=np.float32).reshape(3, 4)})


def test_shapes_go_through_computed_ones() -> None:
    model = parsed(
        "(float[N, 3, H, W] x) => (float[A, B] y) { s = Shape<end = 1>(x)  m = Constant<value = int64[1] {-1}>() "
        "  c = Concat<axis = 0>(s, m)  y = Reshape(x, c) }"
    )
    assert values(frozen(model, x=(2, 3, 4, 5))[0])["y"] == [2, 60]


# Weights


def test_weights_that_are_inputs_are_weights_only() -> None:
    model = parsed("(float[N, 3] x, float[3] w) => (float[N, 3] y) <float[3] w = {1, 2, 3}> { y = Add(x, w) }")
    result, _ = frozen(model, x=(2, 3))
    assert [value.name for value in result.graph.input] == ["x"]
    assert error_of(model, w=(3,)) == "a shape is given for 'w'; the model's inputs are x Nx3"
    oracle.assert_same(model, result, {"x": np.array([[1, 2, 3], [4, 5, 6]], np.float32)})


CONSTANTS = {
    "value": ("Constant<value = float[3] {1, 2, 3}>()", [1, 2, 3]),
    "value_floats": ("Constant<value_floats = [1.0, 2.0, 3.0]>()", [1, 2, 3]),
    "value_float": ("Constant<value_float = 1.5>()", 1.5),
    "filled": ("ConstantOfShape<value = float[1] {2.5}>(n)", [2.5, 2.5, 2.5]),
    "filled with nothing": ("ConstantOfShape(n)", [0, 0, 0]),
}


@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
@pytest.mark.parametrize(("constant", "expected"), CONSTANTS.values(), ids=CONSTANTS)
def test_constants_become_initializers(constant: str, expected: object, inner: bool) -> None:
    made = f"n = Constant<value_ints = [3]>()  k = {constant}"
    body = f"{made}  y = Add(x, k)"
    if inner:
        one = f"one () => (float[3] t) {{ {made}  t = Add(x, k) }}"
        body = f"y = If(c) <then_branch = {one}, else_branch = two () => (float[3] e) {{ e = Relu(x) }}>"
    model = parsed(f"(bool c, float[3] x) => (float[3] y) {{ {body} }}")
    result, _ = frozen(model)
    (graph,) = [a.g for a in result.graph.node[0].attribute if a.name == "then_branch"] or [result.graph]
    assert [node.op_type for node in graph.node] == ["Add"]
    weights = {tensor.name: tensor for tensor in (*result.graph.initializer, *graph.initializer)}
    np.testing.assert_array_equal(
        numpy_helper.to_array(weights[graph.node[0].input[1]]), np.array(expected, np.float32)
    )
    oracle.assert_same(model, result, {"c": np.array(True), "x": np.array([1, 2, 3], np.float32)})


def test_constants_that_are_outputs_keep_their_names() -> None:
    model = parsed(
        "(float[N] x) => (float[2] k, float[2] f, float[N] y) { k = Constant<value = float[2] {1, 2}>() "
        "  n = Constant<value_ints = [2]>()  f = ConstantOfShape(n)  y = Relu(x) }"
    )
    result, _ = frozen(model, x=(3,))
    onnx.checker.check_model(result, full_check=True)
    oracle.assert_same(model, result, {"x": np.array([1, -2, 3], np.float32)})


def test_what_is_filled_to_a_dynamic_shape_is_left() -> None:
    model = parsed("(float[N] x) => (float[N] y) { s = Shape(x)  k = ConstantOfShape(s)  y = Add(x, k) }")
    assert [node.op_type for node in frozen(model, x=(3,))[0].graph.node] == ["Shape", "ConstantOfShape", "Add"]


def test_a_model_of_ir_version_3_stays_valid_without_weights_among_its_inputs() -> None:
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "old",
        [tensor("x", onnx.TensorProto.FLOAT, [2]), tensor("w", onnx.TensorProto.FLOAT, [2])],
        [tensor("y", onnx.TensorProto.FLOAT, [2])],
        [weight],
    )
    old = onnx.helper.make_model(graph, ir_version=3, opset_imports=[onnx.helper.make_opsetid("", 8)])
    frozen = graph_passes.optimize(old, passes=["freeze_shapes"]).model
    assert [value.name for value in frozen.graph.input] == ["x"]
    onnx.checker.check_model(frozen)
    graph_passes.optimize(frozen)


@pytest.mark.parametrize(
    ("pooling", "fixed"),
    [
        ("MaxPool <kernel_shape: ints = [1, 2], strides: ints = [3, 2], ceil_mode: int = 1> (x)", True),
        ("MaxPool <kernel_shape: ints = [2, 2], strides: ints = [3, 2], ceil_mode: int = 1> (x)", False),
        ("MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2], ceil_mode: int = 1> (x)", False),
        ("MaxPool <kernel_shape: ints = [2, 2], strides: ints = [3, 3], pads: ints = [0, 1, 1, 1], ceil_mode: int = 1>"
         " (x)", True),
        ("LpPool <kernel_shape: ints = [1, 2], strides: ints = [4, 2], ceil_mode: int = 1> (x)", False),
        ("AveragePool <kernel_shape: ints = [1, 2], strides: ints = [3, 2], ceil_mode: int = 1> (x)", True),
        ("AveragePool <kernel_shape: ints = [1, 1], strides: ints = [3, 3], ceil_mode: int = 1,"
         " count_include_pad: int = 1> (x)", True),
    ],
)  # fmt: skip
def test_windows_that_begin_beyond_the_image(pooling: str, fixed: bool) -> None:
    """ONNX infers one more row than runtimes compute, and for all values after it."""
    original = parsed(f"(float[N,2,5,7] x) => (float[a,b,c,d] y) {{ h = {pooling} y = Relu (h) }}")
    found = frozen(original, x=(2, 2, 5, 7))[0]
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 7), np.float32)
    (want,), (got,) = oracle.run(original, {"x": x}), oracle.run(found, {"x": x})
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert values(found)["h"] == values(found)["y"] == list(want.shape)
    assert ("ceil_mode" in str(found.graph.node[0])) != fixed
