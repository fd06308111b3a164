"""Models with nodes that cannot be compiled, which ONNX Runtime runs within the program."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

import compiler
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm
TEXTS = {
    "a size that depends on data": "(float[3, 4] x) => (int64[2, n] i, float[3, 4] y) { y = Relu (x) i = NonZero (y) }",
    "back to compiled code": "(float[4, 4] x) => (float[4, 4] y) "
    "{ a = Exp (x) b = Det (a) c = Mul (x, b) y = Tanh (c) }",
    "two segments": "(float[4, 4] x) => (float z) { a = Det (x) b = Mul (x, a) c = Exp (b) z = Det (c) }",
    "one segment for two branches": "(float[4, 4] x) => (float y) "
    "{ a = Exp (x) b = Det (a) c = Neg (x) d = Det (c) y = Add (b, d) }",
    "nothing compiled": "(float[3] x) => (int64[1, n] i) { i = NonZero (x) }",
    "a sequence made by compiled code": "(float[4, 2] x) => (float[n, 2] y, int64 n1) <int64[1] at = {0}> "
    "{ s = SplitToSequence (x) i = NonZero (x) r = ReduceMax <keepdims = 0> (i) r2 = Mod (r, r) "
    "e = SequenceAt (s, r2) y = Unsqueeze (e, at) n1 = SequenceLength (s) }",
    "a sequence as output": "(float[4, 2] x) => (seq(float[4, 2]) s) { y = Exp (x) s = SequenceConstruct (x, y) }",
    "a body that reads values of the graph": "(bool c, float[2] x) => (float[n] y) "
    "{ a = Exp (x) y = If (c) <then_branch = t () => (float[2] u) { u = Identity (a) }, "
    "else_branch = e () => (float[4] v) { v = Concat <axis = 0> (a, x) }> }",
    "sizes that come with each run": "(float[1, 1, 2, 2] x, int64[4] sizes) => (float[a, b, c, d] y) "
    '{ y = Resize (x, "", "", sizes) }',
    "an input that an inner node and compiled code read": "(float[5] x) => (float[n] y, float[5] z) "
    "{ c = Greater (x, x) d = Not (c) y = Compress (x, d) z = Sin (x) }",
}


def parsed(text: str, opset: int = 18) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> g {text}')


def inputs_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    made = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if value.name == "sizes":
            made[value.name] = np.array([1, 1, 3, 5])
            continue
        boolean = value.type.tensor_type.elem_type == onnx.TensorProto.BOOL
        made[value.name] = np.array(True) if boolean else rng.standard_normal(shape).astype(np.float32)
    return made


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", TEXTS)
def test_answers(name: str, threads: int, tmp_path: Path) -> None:
    model = parsed(TEXTS[name])
    inputs = inputs_of(model)
    compiled = compiler.build(model, threads=threads)
    assert compiled.segments
    found = compiled.run(inputs)
    for want, got in zip(oracle.run(model, inputs), found.values(), strict=True):
        for w, g in zip(want, got, strict=True) if isinstance(got, list) else [(want, got)]:
            assert (g.shape, g.dtype) == (w.shape, w.dtype)
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6 * np.abs(w).max(initial=0))
    compiled.save(tmp_path / "model.lw")
    again = compiler.load(tmp_path / "model.lw").run(inputs)
    for name, got in found.items():
        np.testing.assert_array_equal(np.asarray(again[name]), np.asarray(got))


def test_one_segment_where_one_is_enough() -> None:
    segments = {name: len(compiler.build(parsed(text), threads=1).segments) for name, text in TEXTS.items()}
    assert segments == dict.fromkeys(TEXTS, 1) | {"two segments": 2, "a sequence made by compiled code": 2}


def test_strings_pass_through() -> None:
    model = parsed("(string[2] x, float[2] a) => (string[2] y, float[2] b) { y = StringConcat (x, x) b = Exp (a) }", 20)
    compiled = compiler.build(model, threads=1)
    found = compiled.run({"x": np.array(["a", "bc"], object), "a": np.zeros(2, np.float32)})
    assert found["y"].tolist() == ["aa", "bcbc"]
    assert found["b"].tolist() == [1, 1]


def test_a_constant_of_strings_as_output(tmp_path: Path) -> None:
    model = parsed(
        "(float[2] x, string[2] t) => (float[2] y, string[2] s, bool[2] e) { y = Exp (x) e = Equal (s, t) }", 20
    )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(["a", "bc"], object), "s"))
    compiled = compiler.build(model, threads=1)
    compiled.save(tmp_path / "m.lw")
    for each in (compiled, compiler.load(tmp_path / "m.lw")):
        found = each.run({"x": np.zeros(2, np.float32), "t": np.array(["a", "b"])})
        assert [array.tolist() for array in found.values()] == [[1, 1], ["a", "bc"], [True, False]]
    with pytest.raises(ValueError, match="unsupported type"):
        compiler.build(model, threads=1, fallback=None)


def test_inputs_for_segments_only() -> None:
    model = parsed(
        "(optional(float[2]) o, seq(float[2]) q, string[2] s) => (float[2] y, string[2] t, string[2] s, "
        "optional(float[2]) o, seq(float[2]) q) { y = OptionalGetElement (o) t = StringConcat (s, s) }",
        20,
    )
    compiled = compiler.build(model, threads=1)
    x = np.arange(2, dtype=np.float32)
    inputs = {"o": x, "q": [x], "s": np.array(["a", "b"], object)}
    fixed = x.copy()
    fixed.flags.writeable = False
    for given in (x, x[::-1], fixed, np.arange(4, dtype=np.float32)[::2]):
        found = compiled.run(inputs | {"o": given, "q": [given]})
        for got in (found["y"], found["o"], *found["q"]):
            np.testing.assert_array_equal(got, given)
            assert not np.shares_memory(got, given)
    assert found["t"].tolist() == ["aa", "bb"]
    assert found["s"] is not inputs["s"]
    assert compiled.run(inputs | {"s": np.array(["c", "d"])})["s"].tolist() == ["c", "d"]
    wrong: list[dict[str, Any]] = [{"s": np.array([b"a", b"b"])}, {"o": x.astype(">f4")}, {"q": [x, x.astype(">f4")]}]
    for given in wrong:
        with pytest.raises(TypeError, match="must have"):
            compiled.run(inputs | given)
    for given in ({"s": np.array(["a", "b", "c"])}, {"s": np.array([1, 2])}, {"o": x[:1]}):
        with pytest.raises(ValueError, match="ONNX Runtime"):
            compiled.run(inputs | given)


def test_without_fallback_all_reasons_are_in_one_line() -> None:
    model = parsed("(float[4, 4] x) => (float y, int64[2, n] i) { y = Det (x) z = Exp (x) i = NonZero (z) }")
    with pytest.raises(ValueError, match=r"Det \(node .*NonZero \(node ") as caught:
        compiler.build(model, threads=1, fallback=None)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="'onnxruntime' or None"):
        compiler.build(model, threads=1, fallback="openvino")


def test_a_node_that_onnx_runtime_rejects_too() -> None:
    with pytest.raises(ValueError, match=r"cannot compile Nothing .*rejects Nothing too") as caught:
        compiler.build(
            onnx.parser.parse_model(
                '<ir_version: 10, opset_import: ["": 18, "some.where": 1]> '
                "g (float[2] x) => (float[2] y) { y = some.where.Nothing (x) }"
            ),
            threads=1,
        )
    assert "\n" not in str(caught.value)


def test_division_by_zero_in_a_segment_is_an_error() -> None:
    """ONNX Runtime alone ends the process."""
    model = parsed(
        "(int32[4] x, int32[2] d) => (int32[n] y) <int64[1] flat = {-1}> "
        "{ i = NonZero (d) j = Reshape (i, flat) a = Gather (x, j) b = Sub (a, a) y = Div (a, b) }"
    )
    compiled = compiler.build(model, threads=1)
    with pytest.raises(ValueError, match=r"division of integers by zero.* in Div") as caught:
        compiled.run({"x": np.arange(4, dtype=np.int32), "d": np.ones(2, np.int32)})
    assert "\n" not in str(caught.value)
    empty = compiled.run({"x": np.arange(4, dtype=np.int32), "d": np.zeros(2, np.int32)})
    assert empty["y"].shape == (0,)


@pytest.mark.parametrize("name", ["int8", "int16", "int32", "int64"])
def test_the_smallest_integer_over_minus_one(name: str) -> None:
    """ONNX Runtime alone ends the process for some types."""
    model = parsed(
        f"(int64[3] chosen, {name}[3] a, {name}[3] b) => ({name}[n] q, {name}[n] r, {name}[3] q3, {name}[3] r3) "
        "<int64[1] flat = {-1}> { i = NonZero (chosen) j = Reshape (i, flat) c = Gather (a, j) d = Gather (b, j) "
        "q = Div (c, d) r = Mod (c, d) q3 = Div (a, b) r3 = Mod (a, b) }"
    )
    least = np.iinfo(name).min
    inputs = {"chosen": np.ones(3, np.int64), "a": np.array([least, least, 7], name), "b": np.array([-1, 3, -2], name)}
    found = compiler.build(model, threads=1).run(inputs)
    assert (found["q"][0], found["r"][0]) == (least, 0)
    np.testing.assert_array_equal(found["q"], found["q3"])
    np.testing.assert_array_equal(found["r"], found["r3"])


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("lengths", ["", "l"])
def test_empty_sequences(operator: str, lengths: str) -> None:
    """ONNX Runtime alone ends the process for an empty batch, or without steps."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    model = parsed(
        f"(float[1, 2, 3] x, int64[2] steps, int64[2] batch, int32[2] n, float[1, {2 * gates}, 3] w, "
        f"float[1, {2 * gates}, 2] r) => (float[t, 1, b, 2] y, float[1, b, 2] h) <int64[1] axis = {{0}}> "
        "{ i = NonZero (steps) j = Squeeze (i, axis) k = Sub (j, j) e = Gather <axis = 0> (x, k) "
        "m = NonZero (batch) o = Squeeze (m, axis) z = Gather <axis = 1> (e, o) l = Gather (n, o) "
        f"y, h = {operator} <hidden_size = 2> (z, w, r, , {lengths}) }}"
    )
    compiled = compiler.build(model, threads=1)
    rng = np.random.default_rng(0)
    shapes = {"x": (1, 2, 3), "w": (1, 2 * gates, 3), "r": (1, 2 * gates, 2)}
    given = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    for steps, batch in ((2, 2), (1, 1), (0, 2), (2, 0), (0, 0)):
        sizes = {"steps": np.arange(2) < steps, "batch": np.arange(2) < batch}
        inputs = {**given, **{name: size.astype(np.int64) for name, size in sizes.items()}}
        inputs |= {"n": np.full(2, steps, np.int32)}
        is_fatal = operator != "RNN" and (batch == 0 or (operator == "GRU" and steps == 0 and not lengths))
        if is_fatal:
            with pytest.raises(ValueError, match=f"an empty input of {operator}"):
                compiled.run(inputs)
        else:
            for got, want in zip(compiled.run(inputs).values(), oracle.run(model, inputs), strict=True):
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_names_like_those_of_guards() -> None:
    model = parsed(
        "(int64[2] a) => (int64[n] y) <int64[1] flat = {-1}> "
        "{ i = NonZero (a) zero = Reshape (i, flat) table = Gather (a, zero) y = Div (table, table) }"
    )
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"y/guard/{name}" if name in ("zero", "table") else name for name in names]
    assert compiler.build(model, threads=1).run({"a": np.array([0, 5])})["y"].tolist() == [1]


def test_a_branch_that_cannot_be_compiled_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    model = parsed(
        "(bool c, float[2, 2] x) => (float y) { y = If (c) <then_branch = t () => (float u) { u = Det (x) }, "
        "else_branch = e () => (float v) { v = ReduceMax <keepdims = 0> (x) }> }"
    )
    compiled = compiler.build(model, threads=1)
    assert compiled.run({"c": np.array(True), "x": 2 * np.eye(2, dtype=np.float32)})["y"] == 4
    del compiled
    gc.collect()
    assert capfd.readouterr().err == ""


def test_a_size_that_contradicts_the_model_is_an_error() -> None:
    model = parsed("(float[4] x) => (float[1, 2] y) { i = NonZero (x) f = Cast <to = 1> (i) y = Exp (f) }")
    value = onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, [1, 2])
    model.graph.value_info.append(value)
    compiled = compiler.build(model, threads=1)
    assert compiled.run({"x": np.array([1, 0, 0, 2], np.float32)})["y"].shape == (1, 2)
    with pytest.raises(ValueError, match=r"int64\[1, 3\]"):
        compiled.run({"x": np.array([1, 2, 0, 2], np.float32)})


def test_profile_and_damaged_segments(tmp_path: Path) -> None:
    compiled = compiler.build(parsed(TEXTS["two segments"]), threads=1)
    x = {"x": np.ones((4, 4), np.float32)}
    rows = [row for row in compiled.profile(x, 1) if row.backend == "onnxruntime"]
    assert [(row.layer, row.op) for row in rows] == [("segment 0", "Det"), ("segment 1", "Det")]
    folder = tmp_path / "m.lw"
    compiled.save(folder)
    (folder / "segment1.onnx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"segment1\.onnx is missing or was changed"):
        compiler.load(folder)
