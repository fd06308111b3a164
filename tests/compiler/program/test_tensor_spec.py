"""Forms in which callers pass inputs and take outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.program.tensor_spec import DTYPES, OPAQUE, TensorSpec, checked, checked_out
from tests.compiler.models import model
from tests.graph_passes import oracle

TYPES = {"float32": "float", "float64": "double"}  # names in ONNX's text format; others are NumPy's


@pytest.fixture(scope="module")
def pair() -> compiler.CompiledModel:
    return compiler.build(
        model("g (float[2,3] a, int64[2] i) => (float[2,3] y, int64[2] j) { y = Softplus (a) j = Add (i, i) }"),
        threads=1,
    )


def _inputs() -> dict[str, np.ndarray]:
    return {"a": np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32), "i": np.array([3, 4])}


@pytest.mark.tvm
def test_outputs_are_written_into_arrays_of_the_caller(pair: compiler.CompiledModel) -> None:
    inputs = _inputs()
    want = pair.run(inputs)
    room = np.full((4, 3), 7, np.float32)
    out = {"y": room[1:3], "j": np.zeros(2, np.int64)}
    got = pair.run(inputs, out=out)
    assert list(got) == ["y", "j"]
    assert got["y"] is out["y"]
    assert got["j"] is out["j"]
    for name, array in want.items():
        np.testing.assert_array_equal(out[name], array)
    assert (room[[0, 3]] == 7).all()


@pytest.mark.tvm
def test_outputs_that_are_not_named_are_new_arrays(pair: compiler.CompiledModel) -> None:
    inputs, y = _inputs(), np.zeros((2, 3), np.float32)
    got = pair.run(inputs, {"y": y})
    assert got["y"] is y
    np.testing.assert_array_equal(got["j"], 2 * inputs["i"])
    assert pair.run(inputs, {})["y"] is not y


@pytest.mark.tvm
def test_a_rejected_array_stays_unchanged(pair: compiler.CompiledModel) -> None:
    out = {"y": np.full((2, 3), 7, np.float32), "j": np.zeros(3, np.int64)}
    with pytest.raises(ValueError, match="out for j must have shape"):
        pair.run(_inputs(), out)
    assert (out["y"] == 7).all()


_Y, _J = TensorSpec("y", "float32", (2, 3)), TensorSpec("j", "int64", (2,))
_READ_ONLY = np.zeros((2, 3), np.float32)
_READ_ONLY.flags.writeable = False
_SHARED = np.zeros(40, np.float32)
REJECTED: dict[str, tuple[Any, type[Exception]]] = {
    "out must be a dict of arrays by name, got list": ([], TypeError),
    "out: z unknown; the model returns y: float32[2, 3], j: int64[2]": ({"z": np.zeros(2)}, ValueError),
    "out for y must be a numpy array, got list": ({"y": [1.0]}, TypeError),
    "out for y must be float32, got float64": ({"y": np.zeros((2, 3))}, TypeError),
    "out for y must be float32, got >f4": ({"y": np.zeros((2, 3), ">f4")}, TypeError),
    "out for y must have shape (2, 3), got (3, 2)": ({"y": np.zeros((3, 2), np.float32)}, ValueError),
    "out for y must be contiguous (C order)": ({"y": np.zeros((3, 2), np.float32).T}, ValueError),
    "out for y must be writeable": ({"y": _READ_ONLY}, ValueError),
    "out for y overlaps an input": ({"y": _SHARED[6:12].reshape(2, 3)}, ValueError),
    "out for j overlaps that for y": (
        {"y": _SHARED[20:26].reshape(2, 3), "j": _SHARED[24:28].view(np.int64)},
        ValueError,
    ),
}


@pytest.mark.parametrize("message", REJECTED)
def test_out_is_checked(message: str) -> None:
    out, error = REJECTED[message]
    inputs = [_SHARED[:12:2], 3.0]  # every other number, up to the 11th
    if "overlaps an input" in message:
        assert checked_out({"y": _SHARED[12:18].reshape(2, 3)}, (_Y, _J), inputs)
    with pytest.raises(error) as caught:
        checked_out(out, (_Y, _J), inputs)
    assert str(caught.value) == message


def test_out_of_an_output_whose_size_depends_on_data() -> None:
    with pytest.raises(ValueError, match="out for n is not possible: its size depends on data"):
        checked_out({"n": np.zeros(3, np.int64)}, [TensorSpec("n", "int64", (-1,))], [])


@given(dtype=st.sampled_from(DTYPES), value=st.integers(-300, 300), numpy_type=st.sampled_from(DTYPES))
def test_numbers_are_inputs_of_rank_0(dtype: str, value: int, numpy_type: str) -> None:
    spec = [TensorSpec("x", dtype, ())]
    with np.errstate(over="ignore"):
        scalar = np.asarray(value).astype(numpy_type)[()]
    if numpy_type == dtype:
        (array,) = checked({"x": scalar}, spec)
        assert array.shape == ()
        assert array.dtype == dtype
        assert array[()] == scalar
    else:
        with pytest.raises(TypeError, match=f"input x must be {dtype}, got {numpy_type}"):
            checked({"x": scalar}, spec)
    kind = np.dtype(dtype).kind
    if kind == "b":
        with pytest.raises(TypeError, match="got int"):
            checked({"x": value}, spec)
        assert checked({"x": True}, spec)[0].dtype == bool
        return
    with pytest.raises(TypeError, match="got bool"):
        checked({"x": True}, spec)
    if kind in "iu" and not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        with pytest.raises(ValueError, match=f"which does not hold {value}"):
            checked({"x": value}, spec)
        return
    assert checked({"x": value}, spec)[0] == np.asarray(value, dtype)
    if kind == "f":
        assert checked({"x": value / 3}, spec)[0] == np.asarray(value / 3, dtype)
    else:
        with pytest.raises(TypeError, match="got float"):
            checked({"x": value / 3}, spec)


@pytest.mark.parametrize(("dtype", "value"), [("float16", 7e4), ("float32", -1e39), ("float32", 10**400)])
def test_numbers_that_a_type_does_not_hold(dtype: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"must be {dtype}, which does not hold"):
        checked({"x": value}, [TensorSpec("x", dtype, ())])


def test_a_value_that_is_not_a_number_is_rejected_with_what_is_possible() -> None:
    with pytest.raises(TypeError, match="input k must be a number or array of type int64, got float"):
        checked({"k": 3.0}, [TensorSpec("k", "int64", ())])


def test_strings() -> None:
    spec = [TensorSpec("x", OPAQUE, ())]
    for array in (np.array(["a"]), np.array(["a"], object), ["a"]):
        assert checked({"x": array}, spec) == [array]
    with pytest.raises(TypeError, match=r"input x must have strings, as an array of str or object, got \|S1"):
        checked({"x": np.array([b"a"])}, spec)
    with pytest.raises(ValueError, match="out for x is not possible: it is not a tensor of numbers"):
        checked_out({"x": np.array(["a"], object)}, spec, [])
    assert str(spec[0]) == "x: strings or a sequence"


def test_infinity_and_nan_are_numbers() -> None:
    spec = [TensorSpec("x", "float16", ())]
    assert checked({"x": float("-inf")}, spec)[0] == -np.inf
    assert np.isnan(checked({"x": float("nan")}, spec)[0])


def test_a_number_is_not_a_vector() -> None:
    with pytest.raises(TypeError, match="input x must be a numpy array, got float"):
        checked({"x": 1.0}, [TensorSpec("x", "float32", (1,))])


@pytest.mark.tvm
def test_rank_0_inputs_and_outputs() -> None:
    built = compiler.build(model("g (float[3] x, float a) => (float y, float[3] z) { z = Mul (x, a) y = Neg (a) }"))
    for number in (np.float32(1.5), 1.5, np.array(1.5, np.float32)):
        y = np.zeros((), np.float32)
        got = built.run({"x": np.array([1, 2, 3], np.float32), "a": number}, out={"y": y})
        assert y == -1.5
        assert got["y"] is y
        np.testing.assert_array_equal(got["z"], np.array([1.5, 3, 4.5], np.float32))


@pytest.mark.tvm
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "bool"])
def test_every_type_is_an_input_and_an_output(dtype: str) -> None:
    name = TYPES.get(dtype, dtype)
    built = compiler.build(
        model(f"g ({name}[3] x, bool[3] m) => ({name}[3] y, bool[3] n) {{ y = Where (m, x, x) n = Not (m) }}")
    )
    x, mask = np.array([0, 3, 100], dtype), np.array([True, False, True])
    got = built.run({"x": x, "m": mask})
    assert got["y"].dtype == dtype
    np.testing.assert_array_equal(got["y"], x)
    np.testing.assert_array_equal(got["n"], ~mask)


@pytest.fixture(scope="module")
def camera() -> tuple[onnx.ModelProto, compiler.CompiledModel]:
    """A network that takes an image as a decoder returns it: uint8, channels last."""
    original = model(
        "g (uint8[1,12,10,3] image) => (float[1,4,12,10] y) <float[4,3,3,3] w, float scale> {"
        "f = Cast <to = 1> (image) s = Mul (f, scale) t = Transpose <perm = [0,3,1,2]> (s)"
        "c = Conv <pads = [1,1,1,1]> (t, w) y = Relu (c) }",
        scale=1 / 255,
    )
    return original, compiler.build(original)


# Views of an image of (12, 10, 3): BGR for RGB, upside down, mirrored, one camera of a larger image, every other row.
VIEWS = {
    "plain": lambda image: image[:12, :10],
    "channels reversed": lambda image: image[:12, :10, ::-1],
    "upside down": lambda image: image[11::-1, :10],
    "mirrored": lambda image: image[:12, 9::-1],
    "cut out": lambda image: image[3:15, 7:17],
    "every other": lambda image: image[:24:2, :20:2, ::-1],
    "transposed": lambda image: image[:10, :12].transpose(1, 0, 2),
    "planes": lambda image: np.asfortranarray(image[:12, :10]),
}


@pytest.mark.tvm
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("read_only", [False, True])
def test_images_as_they_come_from_a_decoder(
    camera: tuple[onnx.ModelProto, compiler.CompiledModel], view: str, read_only: bool
) -> None:
    original, built = camera
    large = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    large.flags.writeable = not read_only
    image = VIEWS[view](large)[None]
    before = image.copy()
    got = built.run({"image": image})["y"]
    want = oracle.run(original, {"image": before})[0]
    np.testing.assert_allclose(got, want, rtol=0, atol=64 * np.finfo(np.float32).eps * np.abs(want).max())
    np.testing.assert_array_equal(image, before)


@pytest.mark.tvm
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_inputs_of_any_strides(pair: compiler.CompiledModel, data: st.DataObject) -> None:
    base = np.random.default_rng(0).standard_normal((7, 7, 7)).astype(np.float32)
    array = base.transpose(data.draw(st.permutations(range(3))))
    row, column = (data.draw(st.sampled_from([-2, -1, 1])) for _ in range(2))
    array = array[::row][:2, ::column][:, :3, data.draw(st.integers(0, 3))]
    assert array.shape == (2, 3)
    got = pair.run({"a": array, "i": np.array([1, 2])})["y"]
    np.testing.assert_array_equal(got, pair.run({"a": np.ascontiguousarray(array), "i": np.array([1, 2])})["y"])


@pytest.mark.tvm
def test_models_whose_outputs_declare_no_shape() -> None:
    original = model("g (float[2,3] x) => (float[2,3] y, float[3,2] z) { y = Exp (x) z = Transpose (y) }")
    for place, output in enumerate(original.graph.output):
        output.CopyFrom(
            onnx.helper.make_empty_tensor_value_info(output.name)
            if place
            else onnx.helper.make_tensor_value_info(output.name, onnx.TensorProto.FLOAT, None)
        )
    built = compiler.build(original)
    assert [spec.shape for spec in built.outputs] == [(2, 3), (3, 2)]
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    got = built.run({"x": x})
    np.testing.assert_allclose(got["z"], np.exp(x.astype(np.float64)).T, rtol=8 * np.finfo(np.float32).eps)
