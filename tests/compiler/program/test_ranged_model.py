"""Models for ranges of sizes: their errors, threads, memory, and the round trip through a folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from compiler.program.saved_model import MANIFEST, WEIGHTS
from compiler.workloads.target import usable_cores
from tests.compiler.models import assert_answers, graph, model
from tests.compiler.program.manifests import write_manifest

pytestmark = pytest.mark.tvm

BATCH, LENGTH, WIDTH = range(1, 5), range(2, 129), 24
ORIGINAL = model(
    f"g (float[b,l,{WIDTH}] x, int64[b,l] mask) => (float[b,l,{WIDTH}] y, float[b,{WIDTH}] mean)"
    f"<float[{WIDTH},{WIDTH}] w, float[{WIDTH}] c, float[{WIDTH}] g0, float[{WIDTH}] h0, int64[1] one = {{1}},"
    " int64[1] two = {2}, float least = {1.0}>"
    "{ d = MatMul (x, w) e = Add (d, c) r = Relu (e) n = LayerNormalization (r, g0, h0) t = Softplus (n)"
    " y = Add (t, x) f = Cast <to = 1> (mask) u = Unsqueeze (f, two) p = Mul (y, u)"
    " s = ReduceSum <keepdims = 0> (p, one) k = ReduceSum <keepdims = 0> (u, one) m = Max (k, least)"
    " mean = Div (s, m) }"
)
SIZES = st.fixed_dictionaries({"b": st.sampled_from(BATCH), "l": st.sampled_from(LENGTH)})


def inputs_of(b: int, l: int, seed: int = 0) -> dict[str, np.ndarray]:  # noqa: E741
    rng = np.random.default_rng((b, l, seed))
    return {"x": rng.standard_normal((b, l, WIDTH), np.float32), "mask": rng.integers(0, 2, (b, l))}


@pytest.fixture(scope="module")
def built() -> compiler.RangedModel:
    shapes: dict[str, tuple[int | range, ...]] = {"x": (BATCH, LENGTH, WIDTH), "mask": (BATCH, LENGTH)}
    return compiler.build(ORIGINAL, shapes, threads=min(2, usable_cores()))


@pytest.fixture(scope="module")
def saved(built: compiler.RangedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.lw"
    built.save(path)
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy.lw"))


def loaded(folder: Path) -> compiler.RangedModel:
    found = compiler.load(folder)
    assert isinstance(found, compiler.RangedModel)
    return found


def assert_equal(answers: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(answers) == list(expected)
    for name, array in answers.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        assert array.tobytes() == expected[name].tobytes(), name


# Runs


@settings(deadline=None, max_examples=20)
@given(SIZES)
def test_answers(built: compiler.RangedModel, sizes: dict[str, int]) -> None:
    inputs = inputs_of(**sizes)
    assert_answers(built, ORIGINAL, inputs)
    assert built.sizes_of(inputs) == sizes
    assert_equal(built.at(sizes).run(inputs), built.run(inputs))


def test_descriptions(built: compiler.RangedModel) -> None:
    assert [(size.name, size.values) for size in built.sizes] == [("b", BATCH), ("l", LENGTH)]
    assert list(map(str, built.inputs)) == [f"x: float32[b, l, {WIDTH}]", "mask: int64[b, l]"]
    assert list(map(str, built.outputs)) == [f"y: float32[b, l, {WIDTH}]", f"mean: float32[b, {WIDTH}]"]
    found = built.at({"l": 7, "b": 3})
    assert [spec.shape for spec in found.outputs] == [(3, 7, WIDTH), (3, WIDTH)]
    assert [layer.op for layer in found.layers] == [layer.op for layer in built.layers]
    assert set(built.generated) == set(found.generated)
    assert {row.layer for row in built.profile(inputs_of(2, 9), runs=1)} >= {layer.name for layer in built.layers}


X, MASK = inputs_of(2, 5)["x"], inputs_of(2, 5)["mask"]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (inputs_of(5, 5), ValueError, "dimension 0 of input x is 5; b may be 1 to 4"),
        (inputs_of(2, 1), ValueError, "dimension 1 of input x is 1; l may be 2 to 128"),
        (inputs_of(2, 129), ValueError, "dimension 1 of input x is 129; l may be 2 to 128"),
        ({"x": X[:0], "mask": MASK[:0]}, ValueError, "dimension 0 of input x is 0; b may be 1 to 4"),
        (
            {"x": X, "mask": MASK[:, :4]},
            ValueError,
            "l is 5 in dimension 1 of input x, and 4 in dimension 1 of input mask",
        ),
        ({"x": X}, ValueError, "mask"),
        ({"mask": MASK}, ValueError, "x"),
        ({}, ValueError, "x"),
        ({"x": X, "mask": MASK, "z": X}, ValueError, "z"),
        ({"x": X[0], "mask": MASK}, ValueError, "x"),
        ({"x": X[..., :5], "mask": MASK}, ValueError, "x"),
        ({"x": X.astype(np.float64), "mask": MASK}, TypeError, "x"),
        ({"x": X, "mask": MASK.astype(np.int32)}, TypeError, "mask"),
        ({"x": X.tolist(), "mask": MASK}, TypeError, "x"),
        ([X, MASK], TypeError, "inputs"),
        (None, TypeError, "inputs"),
    ],
    ids=str,
)
def test_wrong_inputs(built: compiler.RangedModel, given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)) as raised:
        built.run(given)
    assert "\n" not in str(raised.value)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({}, "sizes are b, l; got none"),
        ({"b": 1}, "sizes are b, l; got b"),
        ({"b": 1, "l": 5, "k": 2}, "sizes are b, l; got b, k, l"),
        ({"b": 5, "l": 5}, "b is 5; it may be 1 to 4"),
        ({"b": 1, "l": 0}, "l is 0; it may be 2 to 128"),
        ({"b": 1, "l": "5"}, "l is 5; it may be 2 to 128"),
        ({"b": 1, "l": 5.5}, "l is 5.5; it may be 2 to 128"),
    ],
    ids=str,
)
def test_wrong_sizes(built: compiler.RangedModel, sizes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        built.at(sizes)


def test_the_order_of_sizes_does_not_matter(built: compiler.RangedModel) -> None:
    """2 and 3 are valid for both sizes."""
    for sizes in ({"b": 2, "l": 3}, {"l": 3, "b": 2}, {"l": 2, "b": 3}, {"b": 3, "l": 2}):
        assert built.at(sizes).inputs[0].shape == (sizes["b"], sizes["l"], WIDTH)
        inputs = inputs_of(**sizes)
        assert_equal(built.at(sizes).run(inputs), built.run(inputs))


def test_outputs_are_written_into_arrays_of_the_caller(built: compiler.RangedModel) -> None:
    for sizes in ({"b": 2, "l": 5}, {"b": 3, "l": 9}, {"b": 2, "l": 5}):
        inputs = inputs_of(**sizes)
        y = np.full((sizes["b"], sizes["l"], WIDTH), np.nan, np.float32)
        answers = built.run(inputs, out={"y": y})
        assert answers["y"] is y
        assert_equal(answers, built.run(inputs))
    with pytest.raises(ValueError, match=r"^[^\n]*y[^\n]*$"):
        built.run(inputs_of(2, 6), out={"y": np.zeros((2, 5, WIDTH), np.float32)})


def test_outputs_outlive_runs_of_other_sizes(built: compiler.RangedModel) -> None:
    first = built.run(inputs_of(2, 40))
    kept = {name: array.copy() for name, array in first.items()}
    for length in (40, 39, 41, 128):
        built.run(inputs_of(4, length, seed=1))
    assert_equal(first, kept)


def test_many_threads_with_different_sizes(built: compiler.RangedModel, saved: Path) -> None:
    """Each size is new to the loaded model, and several threads may need it at once."""
    cases = [{"b": 1 + place % 4, "l": 2 + place * 7 % 60} for place in range(24)] * 4
    expected = [built.run(inputs_of(**sizes)) for sizes in cases]
    found = loaded(saved)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda sizes: found.run(inputs_of(**sizes)), cases))
    for answer, want in zip(answers, expected, strict=True):
        assert_equal(answer, want)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory of the process from /proc")
def test_the_memory_of_many_sizes_is_bounded() -> None:
    """200 sizes with outputs of 1.5 MB on average, of which less than half may stay."""
    width = 512
    original = model(f"g (float[l,1] x, float[1,{width}] z) => (float[l,{width}] y) {{ p = Mul (x, z) y = Sin (p) }}")
    found = compiler.build(original, {"x": (range(1, 1001), 1), "z": (1, width)}, threads=1)
    z = np.linspace(-1, 1, width, dtype=np.float32)[None]
    lengths = np.random.default_rng(0).choice(np.arange(500, 1001), 200, replace=False).tolist()
    found.run({"x": np.ones((1000, 1), np.float32), "z": z})
    before = resident_bytes()
    for length in lengths:
        x = np.linspace(0, 1, length, dtype=np.float32)[:, None]
        answer = found.run({"x": x, "z": z})["y"]
        assert answer.shape == (length, width)
        # The product and the sine have an error of a unit each; Sin in TVM is accurate to four units.
        assert np.abs(answer - np.sin(x.astype(np.float64) * z)).max() < 6 * np.finfo(np.float32).eps
    grown = resident_bytes() - before
    assert grown < sum(lengths) * width * 4 / 2, f"the process grew by {grown >> 20} MiB"


# Saved models

FRESH = """
import sys

BLOCKED = {"onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "tvm"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import numpy as np
from compiler.program.load import load

model = load(sys.argv[1])
with np.load(sys.argv[2]) as given:
    places = sorted({name.partition(".")[0] for name in given.files})
    answers = [model.run({name: given[f"{place}.{name}"] for name in ("x", "mask")}) for place in places]
np.savez(sys.argv[3], **{f"{p}.{name}": array for p, answer in zip(places, answers) for name, array in answer.items()})
print(*BLOCKED & set(sys.modules))
with open("/proc/self/maps") as maps:
    print(*{line.split("/")[-1].strip() for line in maps if ".so" in line})
"""


def test_a_fresh_process_without_the_compiler(built: compiler.RangedModel, saved: Path, tmp_path: Path) -> None:
    """It gives the same bits at sizes that nothing ran at before saving, and imports no compiler."""
    cases = [inputs_of(*sizes) for sizes in ((1, 2), (4, 128), (1, 128), (4, 2), (3, 77), (2, 31))]
    arrays: dict[str, Any] = {
        f"{place}.{name}": array for place, case in enumerate(cases) for name, array in case.items()
    }
    np.savez(tmp_path / "inputs.npz", **arrays)
    command = [sys.executable, "-c", FRESH, saved, tmp_path / "inputs.npz", tmp_path / "answers.npz"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules, libraries = done.stdout.splitlines()
    assert not modules
    assert "libtvm_compiler.so" not in libraries.split()
    with np.load(tmp_path / "answers.npz") as answers:
        for place, case in enumerate(cases):
            assert_equal({name: answers[f"{place}.{name}"] for name in ("y", "mean")}, built.run(case))


def test_outputs_that_would_be_empty_at_size_1(tmp_path: Path) -> None:
    """Shapes hold for the sizes in the ranges only."""
    original = graph("float[1,2,N] x", "float[3,2,11] w", {"y": "@a = Conv (x, w) @ = Neg (@a)"})
    model = compiler.build(original, {"x": (1, 2, range(20, 60))}, threads=1)
    model.save(tmp_path / "m.lw")
    x = np.ones((1, 2, 33), np.float32)
    loaded = compiler.load(tmp_path / "m.lw")
    np.testing.assert_array_equal(loaded.run({"x": x})["y"], model.run({"x": x})["y"])


def test_what_is_loaded(built: compiler.RangedModel, saved: Path, tmp_path: Path) -> None:
    found = loaded(saved)
    assert (found.inputs, found.outputs, found.sizes) == (built.inputs, built.outputs, built.sizes)
    assert [layer.to_json({}) for layer in found.layers] == [layer.to_json({}) for layer in built.layers]
    assert found.module is None
    weights = sum(
        entry["shape"][0] * (entry["shape"] + [1])[1] for entry in json.loads((saved / MANIFEST).read_text())["weights"]
    )
    assert (saved / WEIGHTS).stat().st_size < 4 * weights + 64 * 8, "weights are saved once, not for each size"
    with pytest.raises(RuntimeError, match=r"^a loaded model cannot be saved again: copy its folder$"):
        found.save(tmp_path / "again.lw")


def replaced(*path: Any, by: Any) -> Callable[[dict[str, Any]], None]:
    """Returns a function that replaces an entry of a manifest."""

    def change(manifest: dict[str, Any]) -> None:
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = by

    return change


def expression(terms: Any, constant: Any = 0, divisor: Any = 1) -> dict[str, Any]:
    return {"expression": {"terms": terms, "constant": constant, "divisor": divisor}}


B, L = expression([[1, ["b"]]]), expression([[1, ["l"]]])
HOSTILE: dict[str, Callable[[dict[str, Any]], None]] = {
    "sizes that are missing": lambda manifest: manifest.pop("sizes"),
    "no sizes": replaced("sizes", by=[]),
    "sizes null": replaced("sizes", by=None),
    "a number as a size": replaced("sizes", 0, by=3),
    "one size": lambda manifest: manifest["sizes"].pop(),
    "a size twice": lambda manifest: manifest["sizes"].append(manifest["sizes"][0]),
    "a size that no input has": lambda manifest: manifest["sizes"].append({"name": "k", "values": [1, 9, 1]}),
    "a size without a name": lambda manifest: manifest["sizes"][0].pop("name"),
    "a name that is a list": replaced("sizes", 0, "name", by=["b"]),
    "two bounds": replaced("sizes", 0, "values", by=[1, 5]),
    "bounds of text": replaced("sizes", 0, "values", by=["1", "5", "1"]),
    "step 0": replaced("sizes", 0, "values", by=[1, 5, 0]),
    "descending": replaced("sizes", 0, "values", by=[5, 1, -1]),
    "from 0": replaced("sizes", 0, "values", by=[0, 5, 1]),
    "endless": replaced("sizes", 0, "values", by=[1, 10**40, 1]),
    "an unknown size in an input": replaced("inputs", 0, "shape", 0, by=expression([[1, ["k"]]])),
    "an expression of nothing": replaced("inputs", 0, "shape", 0, by={"expression": {}}),
    "an expression that is text": replaced("inputs", 0, "shape", 0, by={"expression": "b"}),
    "an object that is not an expression": replaced("inputs", 0, "shape", 0, by={"size": "b"}),
    "divided by 0": replaced("outputs", 0, "shape", 0, by=expression([[1, ["b"]]], 0, 0)),
    "a list in a shape": replaced("inputs", 0, "shape", 0, by=[B]),
    "text in a shape": replaced("inputs", 0, "shape", 0, by="b"),
    "a sum in an input": replaced("inputs", 0, "shape", 0, by=expression([[1, ["b"]], [1, ["l"]]])),
    "a multiple in an input": replaced("inputs", 0, "shape", 0, by=expression([[2, ["b"]]])),
    "a constant in an input": replaced("inputs", 0, "shape", 0, by=expression([[1, ["b"]]], 1)),
    "an expression of no size in an input": replaced("inputs", 0, "shape", 0, by=expression([], 2)),
    "a negative output": replaced("outputs", 0, "shape", 0, by=expression([[-1, ["b"]]])),
    "a shape that is null": replaced("outputs", 0, "shape", by=None),
    "an unknown type": replaced("outputs", 0, "dtype", by="float33"),
    "two inputs of a name": replaced("inputs", 1, "name", by="x"),
    "an unknown size in a layer": replaced("layers", 0, "output_shape", 0, by=expression([[1, ["k"]]])),
    "a negative size in a layer": replaced("layers", 0, "sizes", 0, by=expression([[-1, ["b"]]])),
    "a huge size in a layer": replaced("layers", 0, "sizes", 0, by=expression([[2**52, ["b", "b"]]])),
    "text as the sizes of a layer": replaced("layers", 0, "sizes", by="x"),
    "a layer that is null": replaced("layers", 0, by=None),
    "layers that are null": replaced("layers", by=None),
    "an unknown layer": replaced("layers", 0, "op", by="magic"),
    "an expression as a layer's kind": replaced("layers", 0, "op", by=B),
    "an expression as a layer": replaced("layers", 0, by=B),
    "weights that are null": replaced("layers", 0, "weights", by=None),
    "an expression as the index of a weight": replaced("layers", 0, "weights", "weight", by=B),
    "an unknown weight": replaced("layers", 0, "weights", "weight", by=99),
    "a workload of text": replaced("layers", 0, "workload", by="x"),
}
ATTEMPT = """
import sys
import numpy as np
import compiler

try:
    model = compiler.load(sys.argv[1])
    for b, l in ((2, 5), (1, 2), (4, 128), (4, 20_000)):
        x, mask = np.ones((b, l, 24), np.float32), np.ones((b, l), np.int64)
        model.run({"x": x, "mask": mask})
except (ValueError, IndexError, RuntimeError) as error:
    print(error)
else:
    print("served")
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_manifests_from_elsewhere(copy: Path, name: str) -> None:
    write_manifest(copy, HOSTILE[name])
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        compiler.load(copy).run(inputs_of(2, 5))


def test_a_rewritten_manifest_is_read(copy: Path) -> None:
    write_manifest(copy, lambda _manifest: None)
    assert loaded(copy).run(inputs_of(2, 5))


UNSAFE: dict[str, Callable[[dict[str, Any]], None]] = {
    "no layers": replaced("layers", by=[]),
    "a larger range than at build time": replaced("sizes", 1, "values", by=[2, 100_000, 1]),
    "a larger output": replaced("outputs", 0, "shape", 1, by=expression([[2, ["l"]]])),
    "a smaller output": replaced("outputs", 0, "shape", 1, by=2),
    "another order of sizes": replaced("inputs", 0, "shape", by=[L, B, WIDTH]),
    "fewer rows in a layer": replaced("layers", 0, "sizes", 0, by=B),
    "more rows in a layer": replaced("layers", 0, "sizes", 0, by=expression([[3, ["b", "l"]]])),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_manifests_that_disagree_with_the_program(copy: Path, name: str) -> None:
    """One line of error, in a process that does not crash."""
    write_manifest(copy, UNSAFE[name])
    done = subprocess.run([sys.executable, "-c", ATTEMPT, copy], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.strip().splitlines()) == 1
    assert done.stdout != "served\n"
