"""Saved models: the round trip, the requirements of loading, and errors."""

from __future__ import annotations

import gc
import hashlib
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import compiler
import kernels
from compiler.program.saved_model import MANIFEST, PROGRAM, WEIGHTS, formats, writable
from tests.compiler.models import graph, model, perceptron
from tests.compiler.program.manifests import write_manifest
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm


@pytest.mark.parametrize("shape", [(3, 4), (0, 3)])
def test_weights_in_read_only_memory_are_not_copied(shape: tuple[int, ...]) -> None:
    weight = np.frombuffer(bytes(range(48)), np.float32)[: math.prod(shape)].reshape(shape)
    expected = weight.copy()
    found = writable(weight)
    assert found.flags.writeable
    assert np.shares_memory(found, weight) == (weight.size > 0)
    del weight
    gc.collect()
    np.testing.assert_array_equal(found, expected)
    assert writable(expected) is expected


@pytest.fixture(scope="module")
def built() -> compiler.CompiledModel:
    """A model with every kind of weight, generated code, and an input that is not float32."""
    attention = (
        " t = Transpose <perm = [0,1,3,2]> (h) d = MatMul (h, t) s = Mul (d, f) p = Softmax <axis = -1> (s)"
        " @ = MatMul (p, h)"
    )
    original = graph(
        "float[1,4,8,8] x, int64[1] i",
        "float[8,4,3,3] w, float[8] b, float[8,8] v, float[8] g, float[8] beta, float f, int64[4] heads",
        {
            "y": "c = Conv (x, w, b) m = MaxPool <kernel_shape = [2,2]> (c) r = Softplus (m)"
            " h0 = Reshape (r, heads) u = MatMul (h0, v) e = MatMul (u, v) h = LayerNormalization (e, g, beta)"
            + attention,
            "z": "@i = Cast <to = 1> (i) @ = Mul (@i, f)",
        },
        heads=np.array([1, 5, 5, 8]),
    )
    found = compiler.build(original, threads=1)
    assert {layer.op for layer in found.layers} == {"conv2d", "max_pool2d", "dense", "layer_norm", "attention"}
    return found


@pytest.fixture(scope="module")
def inputs(built: compiler.CompiledModel) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {spec.name: rng.integers(-3, 3, spec.shape).astype(spec.dtype) for spec in built.inputs}


@pytest.fixture(scope="module")
def saved(built: compiler.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "a folder" / "model.lw"
    built.save(path)
    return path


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "copy.lw"))


def assert_equal(answers: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(answers) == list(expected)
    for name, array in answers.items():
        np.testing.assert_array_equal(array, expected[name])


# The round trip


def loaded(folder: Path) -> compiler.CompiledModel:
    found = compiler.load(folder)
    assert isinstance(found, compiler.CompiledModel)
    return found


def test_the_same_to_the_last_bit(built: compiler.CompiledModel, saved: Path, inputs: dict[str, np.ndarray]) -> None:
    found = loaded(saved)
    assert_equal(found.run(inputs), built.run(inputs))
    assert (found.inputs, found.outputs, found.target) == (built.inputs, built.outputs, built.target)
    assert found.schedules() == built.schedules()
    assert [(layer.name, layer.workload) for layer in found.layers] == [(o.name, o.workload) for o in built.layers]
    assert found.module is None
    assert sorted(path.name for path in saved.parent.iterdir()) == ["model.lw"], "saving leaves no other file"


def test_the_manifest_lists_the_uses_of_weights(built: compiler.CompiledModel, saved: Path) -> None:
    manifest = json.loads((saved / MANIFEST).read_text())
    uses = [(place, layer["weights"]) for place, layer in enumerate(manifest["layers"])]
    of = {(place, name): manifest["weights"][index] for place, own in uses for name, index in own.items()}
    expected = {(place, name): w.shape for place, layer in enumerate(built.layers) for name, w in layer.weights.items()}
    assert {key: tuple(weight["shape"]) for key, weight in of.items()} == expected
    data = (saved / WEIGHTS).read_bytes()
    for (place, name), weight in of.items():
        assert weight["offset"] % 64 == 0
        written = np.frombuffer(data, np.float32, int(np.prod(weight["shape"])), weight["offset"])
        np.testing.assert_array_equal(written, built.layers[place].weights[name].reshape(-1))


def test_profile_and_schedules_of_a_loaded_model(saved: Path, inputs: dict[str, np.ndarray], tmp_path: Path) -> None:
    found = loaded(saved)
    rows = found.profile(inputs, runs=2)
    calls = Counter(row.layer for row in rows if row.backend == "kernel")
    assert list(calls.items()) == [(layer.name, layer.calls) for layer in found.layers]
    default = found.schedules()
    pinned = found.with_schedules({place: schedule for place, schedule in enumerate(default) if schedule})
    assert not pinned.untuned
    assert_equal(pinned.run(inputs), found.run(inputs))
    with pytest.raises(RuntimeError, match=r"^a loaded model cannot be saved again: copy its folder$"):
        found.save(tmp_path / "again.lw")
    assert not list(tmp_path.iterdir())


def test_schedules_are_saved(built: compiler.CompiledModel, inputs: dict[str, np.ndarray], tmp_path: Path) -> None:
    pinned = built.with_schedules({place: schedule for place, schedule in enumerate(built.schedules()) if schedule})
    pinned.save(tmp_path / "pinned.lw")
    found = compiler.load(tmp_path / "pinned.lw")
    assert [layer.schedule for layer in found.layers] == [layer.schedule for layer in pinned.layers]
    assert_equal(found.run(inputs), pinned.run(inputs))


def test_a_model_without_weights(tmp_path: Path) -> None:
    original = model("g (float[3,4] x) => (float[3,4] y) { y = Softplus (x) }")
    compiler.build(original, threads=1).save(tmp_path / "model.lw")
    assert (tmp_path / "model.lw" / WEIGHTS).stat().st_size == 0
    given = oracle.random_inputs(original, seed=1)
    np.testing.assert_allclose(
        compiler.load(tmp_path / "model.lw").run(given)["y"], oracle.run(original, given)[0], rtol=1e-5
    )


def test_saving_replaces_what_was_saved(copy: Path, inputs: dict[str, np.ndarray]) -> None:
    before = compiler.load(copy)
    kept = before.run(inputs)
    other = compiler.build(perceptron(), threads=1)
    other.save(copy)
    assert [spec.name for spec in compiler.load(copy).inputs] == ["x"]
    assert compiler.load(copy).inputs[0].shape == (3, 8)
    assert_equal(before.run(inputs), kept)  # the loaded model still has its weights


@pytest.mark.parametrize("kind", ["a file", "an empty folder", "a full folder"])
def test_saving_replaces_nothing_else(built: compiler.CompiledModel, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "precious"
    if kind == "a file":
        path.write_text("precious")
    else:
        path.mkdir()
    if kind == "a full folder":
        (path / "data").write_text("precious")
    with pytest.raises(FileExistsError, match=r"^.*precious exists and is not a saved model$"):
        built.save(path)
    assert path.exists()
    assert kind != "a full folder" or (path / "data").read_text() == "precious"


# Requirements of loading

LOADED = """
import sys

BLOCKED = {"onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch", "tvm"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            print("imports", name)
            raise ImportError(name)

sys.meta_path.insert(0, Blocker())
import numpy as np
from compiler.program.load import load

model = load(sys.argv[1])
model.run({spec.name: np.ones(spec.shape, spec.dtype) for spec in model.inputs})
print(*BLOCKED & set(sys.modules))
with open("/proc/self/maps") as maps:
    print(*{line.split("/")[-1].strip() for line in maps if ".so" in line})
"""


def test_loading_needs_no_compiler(saved: Path) -> None:
    """Neither onnx nor the Python package of TVM can be imported; torch, which tvm_ffi would import, is not loaded."""
    command = [sys.executable, "-c", LOADED, saved]
    loaded, libraries = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert not loaded
    assert "libtvm_compiler.so" not in libraries.split()
    assert {"libtvm_runtime.so", "libloopwright_runtime.so", PROGRAM} <= set(libraries.split())


# Errors


def assert_rejected(folder: Path, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        compiler.load(folder)
    assert type(raised.value) is error
    assert "\n" not in str(raised.value)


def test_a_rewritten_manifest_is_read(copy: Path) -> None:
    write_manifest(copy, nothing)
    assert compiler.load(copy).layers


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, PROGRAM])
@pytest.mark.parametrize("damage", ["shortened", "changed", "emptied", "removed", "extended"])
def test_damage_is_detected(copy: Path, name: str, damage: str) -> None:
    path = copy / name
    data = path.read_bytes()
    half = len(data) // 2
    changed = {
        "shortened": data[:half],
        "changed": data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :],
        "emptied": b"",
        "extended": data + b"x",
    }
    path.unlink() if damage == "removed" else path.write_bytes(changed[damage])
    if name != MANIFEST:
        assert_rejected(copy, ValueError, f"{name} is missing or was changed: its digest differs$")
    elif damage == "removed":
        assert_rejected(copy, FileNotFoundError, r"is not a saved model: it has no manifest.json$")
    else:
        assert_rejected(copy, ValueError, rf"{MANIFEST} (is broken: .*|was changed: its digest differs)$")


def test_no_saved_model(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nothing"):
        assert_rejected(path, FileNotFoundError, r"is not a saved model: it has no manifest.json$")
    message = (
        r"file is a file, and a saved model is a folder; build one with: python -m compiler build .*file -o file.lw$"
    )
    assert_rejected(tmp_path / "file", FileNotFoundError, message)


def nothing(_manifest: dict[str, Any]) -> None:
    pass


def other_version(manifest: dict[str, Any]) -> None:
    manifest["versions"]["apache-tvm"] = "0.1"


def other_isa(manifest: dict[str, Any]) -> None:
    manifest["isa"] = "neon"


def no_threads(manifest: dict[str, Any]) -> None:
    manifest["threads"] = 0


def other_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = formats()[1] + 1


def earlier_format(manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def no_digests(manifest: dict[str, Any]) -> None:
    manifest["digests"] = {}


def weights_list(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["weights"] = []


def layer_null(manifest: dict[str, Any]) -> None:
    manifest["layers"][0] = None


def workload_text(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["workload"] = "x"


def schedule_text(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["schedule"] = "x"


def offset_text(manifest: dict[str, Any]) -> None:
    manifest["weights"][0]["offset"] = "x"


def inputs_null(manifest: dict[str, Any]) -> None:
    manifest["inputs"] = None


def name_number(manifest: dict[str, Any]) -> None:
    manifest["outputs"][0]["name"] = 5


def shape_text(manifest: dict[str, Any]) -> None:
    manifest["inputs"][0]["shape"] = "12"


def size_below_unknown(manifest: dict[str, Any]) -> None:
    manifest["outputs"][0]["shape"][0] = -2


def input_twice(manifest: dict[str, Any]) -> None:
    manifest["inputs"] *= 2


def isa_list(manifest: dict[str, Any]) -> None:
    manifest["isa"] = ["avx2"]


def no_workload(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["workload"] = None


def far_weight(manifest: dict[str, Any]) -> None:
    manifest["weights"][-1]["offset"] = 1 << 30


def unknown_layer(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["op"] = "magic"


def illegal_schedule(manifest: dict[str, Any]) -> None:
    manifest["layers"][-1]["schedule"] = {"magic": 1}


ISAS = ", ".join(kernels.available_isas())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (other_version, ValueError, r"was compiled by other versions: apache-tvm 0\.1 \(here .*\); compile .* again$"),
        (
            other_isa,
            RuntimeError,
            rf"^the model was compiled for neon; this CPU supports {ISAS}$",
        ),
        (no_threads, ValueError, r"^the manifest has isa '.*' and threads 0$"),
        (earlier_format, ValueError, r"is of format 2; this version reads formats 4 to 13; compile the model again$"),
        (other_format, ValueError, r"is of format 14; this version reads formats 4 to 13; compile the model again$"),
        *(
            (broken, ValueError, r"^manifest.json is not valid: .+$|has offset|has isa|is missing or was changed")
            for broken in (
                no_digests,
                weights_list,
                layer_null,
                workload_text,
                schedule_text,
                offset_text,
                inputs_null,
                isa_list,
            )
        ),
        *(
            (broken, ValueError, r"^a tensor has name .* and shape .*$")
            for broken in (name_number, shape_text, size_below_unknown)
        ),
        (input_twice, ValueError, "^manifest.json is not valid: two inputs have the same name$"),
        (no_workload, ValueError, r"it has neither a workload nor stages$"),
        (far_weight, ValueError, r"weights.bin is too short for its weights$"),
        (unknown_layer, ValueError, r"^layer \S+: unknown kind 'magic'; choose from: dense, .*$"),
        (illegal_schedule, ValueError, r"^layer \d+: .*$"),
    ],
)
def test_manifests_that_do_not_fit(
    copy: Path, change: Callable[[dict[str, Any]], None], error: type[Exception], message: str
) -> None:
    write_manifest(copy, change)
    assert_rejected(copy, error, message)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"format": null}', '{"format": "1"}'])
def test_other_json(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    assert_rejected(copy, ValueError, r"is of format .*; this version reads formats 4 to 13; compile the model again$")


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/passwd", "program.so/../../elsewhere"])
def test_names_lead_nowhere_else(copy: Path, name: str) -> None:
    elsewhere = copy.parent / "elsewhere"
    elsewhere.write_text("")
    digest = hashlib.sha256(b"").hexdigest()
    write_manifest(copy, lambda manifest: manifest["digests"].update({name: digest}))
    assert_rejected(copy, ValueError, "is missing or was changed: its digest differs$")


def test_every_file_needs_its_digest(copy: Path) -> None:
    write_manifest(copy, lambda manifest: manifest["digests"].pop(PROGRAM))
    (copy / PROGRAM).write_bytes(b"")
    assert_rejected(copy, ValueError, f"{PROGRAM}")
