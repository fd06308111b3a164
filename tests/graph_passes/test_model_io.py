"""Invalid models are rejected in one line, and a failed write leaves existing files unchanged."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import graph_passes
from graph_passes import model_io
from graph_passes.model_io import read, write
from tests.graph_passes import oracle

HEAD = '<ir_version: 8, opset_import: ["" : 18, "other.domain" : 1]>'


def parsed(body: str, head: str = HEAD) -> onnx.ModelProto:
    return onnx.parser.parse_model(f"{head} g {body}")


def plain() -> onnx.ModelProto:
    """y = relu(x w + b)"""
    rng = np.random.default_rng(0)
    model = parsed("(float[2, 16] x) => (float[2, 8] y) { p = MatMul(x, w)  s = Add(p, b)  y = Relu(s) }")
    for name, shape in (("w", (16, 8)), ("b", (8,))):
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    return model


def branches(inner: str, other: str = "e = Relu(x)") -> onnx.ModelProto:
    """A model whose first branch is ``inner``, which computes ``t``."""
    return parsed(
        "(bool c, float[2] x) => (float[2] y) "
        f"{{ y = If(c) <then_branch = one () => (float[2] t) {{ {inner} }}, "
        f"else_branch = two () => (float[2] e) {{ {other} }}> }}"
    )


def with_external(folder: Path) -> Path:
    """``plain`` with its weights in the file weights.bin."""
    path = folder / "model.onnx"
    onnx.save_model(plain(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def error_of(model: Path | onnx.ModelProto) -> str:
    """Returns the error message of an unreadable model, which must be one line."""
    with pytest.raises((ValueError, OSError)) as caught:
        read(model)
    (line,) = str(caught.value).splitlines()
    return line


# Files that are not models

NO_MODELS = {
    "text": b"This is a letter, and no model.\n" * 20,
    "empty": b"",
    "png": bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"),
    "zeros": bytes(64),
    "random": np.random.default_rng(0).bytes(5000),
    "only a version": onnx.ModelProto(ir_version=8).SerializeToString(),
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS)
def test_a_file_that_is_not_a_model_is_rejected(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    path.write_bytes(content)
    assert f"{path} is not an ONNX model" in error_of(path)


def test_a_file_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"{tmp_path} is not a model: it has no .onnx file; it has no files"
    missing = tmp_path / "missing.onnx"
    with pytest.raises(FileNotFoundError):
        read(missing)
    assert error_of(missing) == f"cannot read {missing}: No such file or directory"


def check_is_read_or_rejected(path: Path) -> None:
    message = None
    try:
        read(path)
    except (ValueError, OSError) as error:
        message = str(error)
    assert message is None or len(message.splitlines()) == 1


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_rejected_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "in.onnx"
    path.write_bytes(content)
    check_is_read_or_rejected(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_models_are_read_or_rejected_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    """The message is truncated or has some bytes changed."""
    content = bytearray(branches("k = Constant<value = float[2] {1, 2}>()  t = Add(x, k)").SerializeToString())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 3))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "in.onnx"
    path.write_bytes(content)
    check_is_read_or_rejected(path)


# Invalid models


@pytest.mark.parametrize("version", [0, -1, 9999])
def test_an_opset_that_does_not_exist_is_rejected(version: int) -> None:
    model = plain()
    model.opset_import[0].version = version
    assert f"has opset {version}; the installed onnx supports 1 to" in error_of(model)


def test_maps_are_not_supported() -> None:
    scores = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, ()))
    model = parsed('(float[1, 2] x) => (float[1, 2] z) { z = ZipMap <classlabels_strings = ["a", "b"]> (x) }')
    model.graph.output[0].CopyFrom(helper.make_value_info("z", helper.make_sequence_type_proto(scores)))
    assert "has maps, such as z, which are not supported; scikit-learn's converter omits ZipMap" in error_of(model)


def _weight_of_another_size() -> onnx.ModelProto:
    model = plain()
    model.graph.initializer[0].dims[0] += 1
    return model


def _weight_of_no_type() -> onnx.ModelProto:
    model = plain()
    model.graph.initializer[0].data_type = 77
    return model


def _without_opset() -> onnx.ModelProto:
    model = plain()
    model.opset_import[0].domain = "another"
    return model


def _named_in_lines() -> onnx.ModelProto:
    model = parsed("(float[2] x) => (float[2] y) { y = Add(x, z) }")
    model.graph.node[0].input[1] = "z\nz"
    return model


INVALID = {
    "cycle": (parsed("(float[2] x) => (float[2] y) { a = Add(x, y)  y = Relu(a) }"), "has a cycle"),
    "inner cycle": (branches("a = Add(x, t)  t = Relu(a)"), "has a cycle"),
    "reads nothing": (parsed("(float[2] x) => (float[2] y) { y = Add(x, z) }"), "Add y reads z, which has no producer"),
    "inner reads nothing": (branches("t = Add(x, z)"), "Add t reads z, which has no producer"),
    "makes nothing": (parsed("(float[2] x) => (float[2] y) { a = Relu(x) }"), "'y' is not an output of any node"),
    "lines": (_named_in_lines(), "reads z z, which has no producer"),
    "made twice": (parsed("(float[2] x) => (float[2] y) { y = Relu(x)  y = Neg(x) }"), "'y' is redeclared"),
    "output twice": (parsed("(float[2] x) => (float[2] y, float[2] y) { y = Relu(x) }"), "outputs are named y"),
    "arity": (parsed("(float[2] x) => (float[2] y) { y = Conv(x) }"), "input size 1 not in range"),
    "attribute": (parsed('(float[2] x) => (float[2] y) { y = LeakyRelu<alpha = "a">(x) }'), "Mismatched attribute"),
    "unknown attribute": (
        parsed("(float[2] x) => (float[2] y) { y = Relu<alpha = 1.0>(x) }"),
        "Unrecognized attribute",
    ),
    "weight size": (_weight_of_another_size(), "w has 512 bytes; its shape and type require 544"),
    "weight type": (_weight_of_no_type(), "77 is not a valid DataType"),
    "no opset": (_without_opset(), "No opset import for domain ''"),
    "no domain": (
        parsed("(float[2] x) => (float[2] y) { y = nowhere.Foo(x) }"),
        "No opset import for domain 'nowhere'",
    ),
}


@pytest.mark.parametrize(("model", "part"), INVALID.values(), ids=INVALID)
def test_a_model_that_is_not_valid_is_rejected(model: onnx.ModelProto, part: str, tmp_path: Path) -> None:
    path = tmp_path / "in.onnx"
    path.write_bytes(model.SerializeToString())
    for source, name in ((model, "the model"), (path, str(path))):
        line = error_of(source)
        assert line.startswith(f"{name} is not valid: ")
        assert part in line


def test_known_operators_are_checked_next_to_unknown_ones() -> None:
    assert "input size 1" in error_of(parsed("(float[2] x) => (float[2] y) { a = Frobnicate(x)  y = Conv(a) }"))


def test_nodes_in_any_order_are_sorted() -> None:
    model = parsed("(float[2] x) => (float[2] y) { y = Relu(a)  b = Exp(x)  a = Neg(b) }")
    assert [node.op_type for node in read(model).graph] == ["Exp", "Neg", "Relu"]
    inner = graph_passes.optimize(branches("t = Relu(a)  a = Neg(x)")).model
    onnx.checker.check_model(inner)
    (answer,) = oracle.run(inner, {"c": np.array(True), "x": np.array([-1, 2], np.float32)})
    assert answer.tolist() == [1, 0]


# Unknown operators

UNKNOWN = {
    "custom domain": parsed(
        "(float[1, 2, 8, 8] x) => (float[?, ?] y) "
        "{ a = other.domain.Foo<mode = 3>(x)  b = Relu(a)  y = other.domain.Bar(b) }"
    ),
    "standard domain": parsed(
        "(float[2] x) => (float[2] y) { a = Frobnicate<mode = 3>(x)  b = Relu(a)  y = Frobnicate(b) }"
    ),
    "inside": branches("a = Frobnicate(x)  b = Relu(a)  t = other.domain.Foo(b)"),
}


@pytest.mark.parametrize("model", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_operators_are_left_as_they_are(model: onnx.ModelProto) -> None:
    for passes in (None, *([name] for name in graph_passes.PASSES)):
        optimized = graph_passes.optimize(model, passes=passes).model
        assert unknown(optimized) == unknown(model)
        assert [output.name for output in optimized.graph.output] == [output.name for output in model.graph.output]


def unknown(model: onnx.ModelProto) -> list[tuple[str, str, int]]:
    inner = [node for n in model.graph.node for a in n.attribute for node in a.g.node]
    return [
        (node.domain, node.op_type, len(node.attribute))
        for node in [*model.graph.node, *inner]
        if node.domain or node.op_type == "Frobnicate"
    ]


# External data


def test_external_data_is_read_from_the_folder_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = with_external(tmp_path)
    optimized = graph_passes.optimize(path)
    optimized.save(tmp_path / "out.onnx")
    inputs = oracle.random_inputs(plain(), 0)
    oracle.assert_same(plain(), onnx.load(tmp_path / "out.onnx"), inputs)
    monkeypatch.chdir(tmp_path)
    in_memory = onnx.load("model.onnx", load_external_data=False)
    graph_passes.optimize(in_memory).save("again.onnx")
    oracle.assert_same(plain(), onnx.load("again.onnx"), inputs)


Change = Callable[[dict[str, str], Path], None]


def _elsewhere(location: str) -> Change:
    return lambda fields, _: fields.update(location=location)


def _through_a_link(fields: dict[str, str], folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    fields["location"] = "link.bin"


def _through_a_linked_folder(fields: dict[str, str], folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent)
    fields["location"] = "link/outside.bin"


def _in_a_circle(fields: dict[str, str], folder: Path) -> None:
    (folder / "circle.bin").symlink_to(folder / "circle.bin")
    fields["location"] = "circle.bin"


def _absolute(fields: dict[str, str], folder: Path) -> None:
    fields["location"] = str(folder / "weights.bin")


def _hard_link(_: dict[str, str], folder: Path) -> None:
    os.link(folder / "weights.bin", folder / "second.bin")


def _cut_off(_: dict[str, str], folder: Path) -> None:
    os.truncate(folder / "weights.bin", 511)


def _removed(_: dict[str, str], folder: Path) -> None:
    (folder / "weights.bin").unlink()


WRONG_DATA: dict[str, tuple[Change, str]] = {
    "above": (_elsewhere("../outside.bin"), "outside of the model's folder"),
    "above and back": (_elsewhere("missing/../../outside.bin"), "outside of the model's folder"),
    "absolute": (_absolute, "outside of the model's folder"),
    "link": (_through_a_link, "outside of the model's folder"),
    "linked folder": (_through_a_linked_folder, "outside of the model's folder"),
    "hard link": (_hard_link, "several hard links"),
    "circle": (_in_a_circle, "is missing: 'circle.bin'"),
    "nowhere": (_elsewhere(""), "is at '', outside of the model's folder"),
    "lines": (_elsewhere("a\nb"), "is missing: 'a\\nb'"),
    "null": (_elsewhere("a\0b"), "null"),
    "long": (_elsewhere("a" * 5000), "too long"),
    "missing": (_removed, "is missing: 'weights.bin'"),
    "a folder": (_elsewhere("."), "is missing: '.'"),
    "cut off": (_cut_off, "is truncated: weights.bin ends before byte 512"),
    "negative offset": (lambda fields, _: fields.update(offset="-8"), "512 bytes at offset -8"),
    "negative length": (lambda fields, _: fields.update(length="-512"), "-512 bytes"),
    "far offset": (lambda fields, _: fields.update(offset=str(2**62)), "truncated"),
    "another length": (
        lambda fields, _: fields.update(length="8"),
        "8 bytes at offset 0; its shape and type require 512",
    ),
    "no number": (lambda fields, _: fields.update(offset="two"), "is not an integer"),
}


@pytest.mark.parametrize("where", ["initializer", "inner initializer", "constant", "inner constant", "function"])
@pytest.mark.parametrize(("change", "part"), WRONG_DATA.values(), ids=WRONG_DATA)
def test_external_data_that_is_missing_or_elsewhere_is_rejected(
    change: Change, part: str, where: str, tmp_path: Path
) -> None:
    (tmp_path / "outside.bin").write_bytes(bytes(512))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(bytes(512))
    fields = {"location": "weights.bin", "offset": "0", "length": "512"}
    model = holding(external("w", (16, 8), fields), where)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    graph_passes.optimize(path).save(folder / "fine.onnx")
    change(fields, folder)
    path.write_bytes(holding(external("w", (16, 8), fields), where).SerializeToString())
    assert part in error_of(path)


def external(name: str, shape: tuple[int, ...], fields: dict[str, str]) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in fields.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def holding(tensor: TensorProto, where: str) -> onnx.ModelProto:
    """Returns a model with the tensor in the place ``where``."""
    add = "t = Add(x, w)"
    outer = parsed("(bool c, float[16, 8] x) => (float[16, 8] y) { y = Add(x, w) }")
    inner = branches(add)
    results = [attribute.g.output[0] for attribute in inner.graph.node[0].attribute]
    for value in (*inner.graph.input[1:], *inner.graph.output, *results):
        value.type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, (16, 8)))
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    (branch,) = (a.g for a in inner.graph.node[0].attribute if a.name == "then_branch")
    if where == "initializer":
        outer.graph.initializer.append(tensor)
    elif where == "constant":
        outer.graph.node.insert(0, constant)
    elif where == "function":
        function = helper.make_function(
            "other.domain",
            "Foo",
            ["x"],
            ["t"],
            [constant, helper.make_node("Add", ["x", "w"], ["t"])],
            outer.opset_import,
        )
        outer.functions.append(function)
        outer.graph.node[0].CopyFrom(helper.make_node("Foo", ["x"], ["y"], domain="other.domain"))
    elif where == "inner initializer":
        branch.initializer.append(tensor)
    else:
        branch.node.insert(0, constant)
    return inner if where.startswith("inner") else outer


@pytest.mark.parametrize("passes", [None, []], ids=["default", "none"])
@pytest.mark.parametrize("where", ["initializer", "inner initializer", "constant", "inner constant", "function"])
def test_external_data_goes_along_wherever_it_is(where: str, passes: list[str] | None, tmp_path: Path) -> None:
    """The model is written to another folder and must be complete there."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    weights = np.arange(128, dtype=np.float32)
    (tmp_path / "in" / "weights.bin").write_bytes(bytes(16) + weights.tobytes())
    model = holding(external("w", (16, 8), {"location": "weights.bin", "offset": "16"}), where)
    (tmp_path / "in" / "model.onnx").write_bytes(model.SerializeToString())
    graph_passes.optimize(tmp_path / "in" / "model.onnx", passes=passes).save(tmp_path / "out" / "model.onnx")
    inputs = {"c": np.array(True), "x": np.zeros((16, 8), np.float32)}
    (answer,) = oracle.run(onnx.load(tmp_path / "out" / "model.onnx"), inputs)
    assert answer.ravel().tolist() == weights.tolist()


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    (tmp_path / "weights.bin").rename(tmp_path / "blob")
    (tmp_path / "weights.bin").symlink_to("blob")
    graph_passes.optimize(path).save(tmp_path / "out.onnx")
    oracle.assert_same(plain(), onnx.load(tmp_path / "out.onnx"), oracle.random_inputs(plain(), 0))


# Models above 2 GiB


def sparse_model(folder: Path, gibibytes: float) -> Path:
    """x W1 .. Wn + b. The weights are zeros that take no space on disk but exceed a protobuf message."""
    width = 4096
    count = int(gibibytes * 2**30 / (4 * width**2))
    body = "  ".join(f"h{i + 1} = MatMul(h{i}, w{i})" for i in range(count))
    model = parsed(f"(float[1, {width}] h0) => (float[1, {width}] y) {{ {body}  y = Add(h{count}, b) }}")
    for i in range(count):
        offset, length = 4 * width**2 * i, 4 * width**2
        fields = {"location": "zeros.bin", "offset": str(offset), "length": str(length)}
        model.graph.initializer.append(external(f"w{i}", (width, width), fields))
    model.graph.initializer.append(numpy_helper.from_array(np.arange(width, dtype=np.float32), "b"))
    (folder / "zeros.bin").touch()
    os.truncate(folder / "zeros.bin", 4 * width**2 * count)
    path = folder / "large.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def check_passes_through(path: Path) -> None:
    import onnxruntime

    optimized = graph_passes.optimize(path)
    optimized.save(path.with_name("out.onnx"))
    session = onnxruntime.InferenceSession(path.with_name("out.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"h0": np.ones((1, 4096), np.float32)})
    assert np.array_equal(np.asarray(answer), [np.arange(4096)])


def test_a_model_above_the_size_of_a_message_passes_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a lower limit. ``sparse_model(folder, 2.25)`` is above the real one; copying its weights takes 17 s."""
    monkeypatch.setattr(model_io, "LARGEST_MESSAGE_BYTES", 2**20)
    path = sparse_model(tmp_path, 0.125)
    check_passes_through(path)
    assert (tmp_path / "out.onnx").stat().st_size < 2**20


def test_weights_that_exceed_one_message_are_written_to_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_io, "LARGEST_MESSAGE_BYTES", 400)
    graph_passes.optimize(plain()).save(tmp_path / "out.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.onnx", "out.onnx.data"]
    oracle.assert_same(plain(), onnx.load(tmp_path / "out.onnx"), oracle.random_inputs(plain(), 0))


# What does not change


def test_what_is_read_stays_as_it_is(tmp_path: Path) -> None:
    path = with_external(tmp_path)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    model = plain()
    before = model.SerializeToString()
    for source in (path, model):
        graph_passes.optimize(source).save(tmp_path / "out.onnx")
    assert model.SerializeToString() == before
    assert {file: file.read_bytes() for file in files} == files


@pytest.mark.parametrize("with_data", [False, True])
def test_a_write_that_fails_leaves_what_was_there(
    with_data: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with two files, if either the weights or the message cannot be written."""

    def fails(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    model = read(with_external(tmp_path) if with_data else plain())
    out = tmp_path / "out"
    out.mkdir()
    write(model, out / "m.onnx")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    for owner, name in ((onnx, "save") if with_data else (Path, "write_bytes"), (Path, "replace")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fails)
            with pytest.raises(OSError, match="No space left"):
                write(model, out / "m.onnx")
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_model_may_be_written_over_itself(tmp_path: Path) -> None:
    """The weights in memory refer to the overwritten file, where other numbers are now."""
    write(read(with_external(tmp_path)), tmp_path / "m.onnx")
    optimized = graph_passes.optimize(tmp_path / "m.onnx")
    optimized.save(tmp_path / "m.onnx")
    oracle.assert_same(plain(), onnx.load(tmp_path / "m.onnx"), oracle.random_inputs(plain(), 0))
    with pytest.raises(ValueError, match="invalidated"):
        optimized.save(tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(read(plain()), pipe)
        content = os.read(end, 1 << 16)
    finally:
        os.close(end)
    assert pipe.is_fifo()
    onnx.checker.check_model(content)
    with pytest.raises(IsADirectoryError):
        write(read(plain()), tmp_path)
