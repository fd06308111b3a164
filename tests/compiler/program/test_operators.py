"""Operators of users: built into programs, saved, loaded, checked; and libraries that are wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

import compiler
from compiler import runtimes
from compiler.program.operators import Operators
from compiler.program.tensor_spec import DTYPES
from compiler.runtimes import RuntimeUnavailable
from compiler.workloads.target import usable_cores
from tests.compiler.models import kernels_of
from tests.user_operators.libraries import EXAMPLE, ONNX_RUNTIME, PROBE, REACHED, expected, library, model, network

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(EXAMPLE, tmp_path_factory.mktemp("operators"), "-std=c99", "-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(PROBE, tmp_path_factory.mktemp("operators"))


@pytest.fixture(scope="module")
def saved(example: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model.lw"
    compiler.build(network(), threads=1, operators=[example]).save(folder)
    return folder


def values(*shape: int, dtype: str = "float32") -> np.ndarray:
    return (np.random.default_rng(1).standard_normal(shape) * 3).astype(dtype)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_part_of_the_program(example: Path, threads: int) -> None:
    if threads > usable_cores():
        pytest.skip("there is one core")
    made, x = network("200,512"), values(200, 512) / 20
    built = compiler.build(made, threads=threads, operators=[example])
    assert not built.segments
    assert kernels_of(built)["user_operator"] == 1
    for _ in range(3):  # the later ones are replayed
        np.testing.assert_allclose(built.run({"x": x})["y"], expected(made, x), rtol=1e-3, atol=1e-4)
    rows = built.profile({"x": x}, runs=2)
    assert [row.op for row in rows if row.backend == "user"] == ["com.example::SoftThreshold"]


def test_check_compares_with_the_operator_alone(example: Path) -> None:
    built = compiler.build(network(), operators=[example], check={"x": values(2, 8)})
    assert built.checked is not None
    assert [difference.ok for difference in built.checked] == [True]


def test_tune_leaves_out_onnx_runtime(example: Path) -> None:
    built = compiler.build(network(), operators=[example], tune=True)
    assert built.tuned is not None
    assert "com.example" in built.tuned.left_out["ONNX Runtime"]


def test_a_saved_model_has_no_path_and_needs_the_library(example: Path, saved: Path, tmp_path: Path) -> None:
    manifest = (saved / "manifest.json").read_text()
    assert example.name not in manifest
    layer = next(layer for layer in json.loads(manifest)["layers"] if layer["op"] == "user_operator")
    assert (layer["domain"], layer["operator"], layer["attributes"]) == (
        "com.example",
        "SoftThreshold",
        [["threshold", 1, 0.5]],
    )
    elsewhere = Path(shutil.copy(example, tmp_path / "other.so"))
    x = values(2, 8)
    loaded = compiler.load(saved, operators=[elsewhere])
    np.testing.assert_allclose(loaded.run({"x": x})["y"], expected(network(), x), rtol=1e-4, atol=1e-6)


def test_a_missing_library_is_named(saved: Path, probe: Path) -> None:
    for operators in ([], [probe]):
        with pytest.raises(ValueError, match=r"^layer 1: .*com.example::SoftThreshold.*operators") as caught:
            compiler.load(saved, operators=operators)
        assert "\n" not in str(caught.value)


def test_ranges_of_sizes(example: Path, tmp_path: Path) -> None:
    made = network("rows,8")
    built = compiler.build(made, {"x": (range(1, 65), 8)}, threads=1, operators=[example])
    built.save(tmp_path / "ranged.lw")
    for ranged in (built, compiler.load(tmp_path / "ranged.lw", operators=[example])):
        for rows in (1, 7, 64):
            x = values(rows, 8)
            np.testing.assert_allclose(ranged.run({"x": x})["y"], expected(made, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_data_type(probe: Path, dtype: str) -> None:
    name = onnx.helper.tensor_dtype_to_string(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    name = name.removeprefix("TensorProto.").lower()
    made = model(f"g ({name}[3,2] x) => ({name}[2,6] y, int64 n) {{ y, n = com.probe.Twice (x) }}")
    x = values(3, 2, dtype=dtype)
    answers = compiler.build(made, threads=1, operators=[probe]).run({"x": x})
    np.testing.assert_array_equal(answers["y"], np.stack([x.reshape(-1)] * 2))
    np.testing.assert_array_equal(answers["n"], np.array(6))


def test_a_chain_infers_the_shapes_of_what_follows(probe: Path) -> None:
    """The outputs have no types in the model: each operator reads what follows from the one before."""
    made = model(
        "g (float[2,0] e, float[3] x) => (y, z)"
        "{ a, n = com.probe.Twice (x) b = Relu (a) c, m = com.probe.Twice (b) y = Concat <axis = 0> (c, c)"
        "  z, k = com.probe.Twice (e) }"
    )
    x = values(3)
    answers = compiler.build(made, threads=1, operators=[probe]).run({"e": values(2, 0), "x": x})
    np.testing.assert_array_equal(answers["y"], np.tile(np.maximum(x, 0), (4, 2)))
    assert answers["z"].shape == (2, 0)


def test_constants_are_not_folded_and_attributes_arrive(probe: Path, tmp_path: Path) -> None:
    attributes = 'i = 5, f = 0.25, s = "été", is = [-1, 2], fs = [0.5, 1.5], ss = ["a", "", "bc"]'
    made = model(
        f"g (float[2] x) => (float[2] y) <float[2] c> {{ z = com.probe.Sum <{attributes}> (c, , c) y = Add (x, z) }}"
    )
    built = compiler.build(made, threads=1, operators=[probe])
    assert kernels_of(built)["user_operator"] == 1
    built.save(tmp_path / "model.lw")
    c = onnx.numpy_helper.to_array(made.graph.initializer[0])
    x = values(2)
    want = x + c + c[0] + 5 + 0.25 + len("été".encode()) + 1 + 2 + 3
    for each in (built, compiler.load(tmp_path / "model.lw", operators=[probe])):
        np.testing.assert_allclose(each.run({"x": x})["y"], want, rtol=1e-5)


WRONG: Mapping[str, str] = {
    "Negative": "com.probe::Negative: its function infer is wrong: output 0 has the size -1",
    "Huge": "com.probe::Huge: its function infer is wrong: output 0 has more than 1099511627776 bytes",
    "ManyAxes": "com.probe::ManyAxes: its function infer is wrong: output 0 has 17 axes",
    "Untyped": "com.probe::Untyped: its function infer is wrong: output 0 has the element type 0",
    "Fails": "com.probe::Fails: it takes no such node",
}


@pytest.mark.parametrize("name", WRONG)
def test_an_operator_that_infers_nonsense_is_rejected(probe: Path, name: str) -> None:
    made = model(f"g (float[2] x) => (float[2] y) {{ y = com.probe.{name} (x) }}")
    with pytest.raises(ValueError, match=rf"^cannot compile {name} \S+: {WRONG[name]}") as caught:
        compiler.build(made, operators=[probe])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("g (float[2] x) => (float[2] y) { y = com.probe.Sum (x) }", "has 3 to 3 inputs and 1 to 1 outputs, got 1"),
        ("g (float[2] x) => (float[2] y) { y = com.example.SoftThreshold (x) }", "the attribute threshold must be"),
        ("g (double[2] x) => (double[2] y) { y = com.example.SoftThreshold (x) }", "x must be float32"),
        (
            "g (float[2] x) => (float[n] y) { i = NonZero (x) c = Cast <to = 1> (i) y, k = com.probe.Twice (c) }",
            r"cannot compile Twice \S+: the size of its input c depends on data",
        ),
        (
            "g (float[2] x) => (float[2] y) { y = com.probe.RunFails <t = float[1] {1}> (x) }",
            "its attribute t is of the kind TENSOR",
        ),
        ("g (bfloat16[2] x) => (y) { y, k = com.probe.Twice (x) }", "bfloat16"),
    ],
)
def test_a_node_that_does_not_fit(probe: Path, example: Path, graph: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        compiler.build(model(graph), operators=[probe, example])
    assert "\n" not in str(caught.value)


def test_a_run_that_fails(probe: Path) -> None:
    made = model("g (float[2] x) => (float[2] y) { y = com.probe.RunFails (x) }")
    built = compiler.build(made, operators=[probe])
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^node '\w+': com.probe::RunFails: x+$"):
            built.run({"x": values(2)})


def test_libraries_that_are_wrong(probe: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.c"
    empty.write_text("int nothing;\n")
    text = tmp_path / "text.so"
    text.write_text("no library")
    copy = Path(shutil.copy(probe, tmp_path / "copy.so"))
    cases = {
        (tmp_path / "none.so",): "none.so: there is no such file",
        (text,): "text.so: it cannot be loaded",
        (library(empty, tmp_path),): "it does not export loopwright_operators",
        (
            library(PROBE, tmp_path, "-DVERSION=9"),
        ): "it implements version 9 of loopwright/operator.h; this is version 1",
        (library(PROBE, tmp_path, "-DOTHER_VERSION"),): "it does not implement version 1 of loopwright/operator.h",
        (probe, copy): "copy.so: operator com.probe::Twice is in another library too",
    }
    for paths, reason in cases.items():
        with pytest.raises(ValueError, match=f"^library of operators .*{reason}") as caught:
            Operators(paths)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="list of paths"):
        compiler.build(network(), operators=str(probe))


def test_custom_operators_are_given_to_onnx_runtime(example: Path, tmp_path: Path) -> None:
    """In segments, and as a peer in a comparison."""
    custom = library(ONNX_RUNTIME, tmp_path)
    made = model("g (float[2] x) => (float[2] y) { y = com.probe.Unknown (x) }")
    with pytest.raises(
        ValueError, match=f"no code for this operator .*; ONNX Runtime rejects Unknown too: .*{REACHED}"
    ):
        compiler.build(made, operators=[custom, example])
    with pytest.raises(RuntimeUnavailable, match=REACHED):
        runtimes.load("onnxruntime", network(), 1, [custom, example])
    with pytest.raises(RuntimeUnavailable, match="SoftThreshold"):
        runtimes.load("onnxruntime", network(), 1, [example])


def test_another_library_of_the_same_name_is_noticed(probe: Path, tmp_path: Path) -> None:
    """A saved model has the types of the outputs; a library that infers others would write beyond them."""
    made = model("g (float[2] x) => (y) { y, n = com.probe.Twice (x) }")
    compiler.build(made, threads=1, operators=[probe]).save(tmp_path / "model.lw")
    changed = tmp_path / "probe.c"
    changed.write_text(PROBE.read_text().replace("outputs[0].sizes[0] = 2;", "outputs[0].sizes[0] = 3;"))
    with pytest.raises(ValueError, match=r"com.probe::Twice infers other outputs than when the model was built"):
        compiler.load(tmp_path / "model.lw", operators=[library(changed, tmp_path)])
