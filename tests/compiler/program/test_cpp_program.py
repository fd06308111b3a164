"""The C++ program of docs/cpp loads a saved model and computes the same outputs as Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import compiler
from compiler.workloads.target import usable_cores
from tests.compiler.models import graph

pytestmark = pytest.mark.tvm

SOURCE = Path(__file__).resolve().parents[3] / "docs" / "cpp"
SCRIPTS = Path(sys.executable).parent  # contains cmake and ninja in a virtual environment


def tool(*names: str) -> str:
    """Returns the path of the first tool that exists."""
    found = [path for name in names if (path := shutil.which(name, path=str(SCRIPTS)) or shutil.which(name))]
    if not found:
        pytest.skip(f"{' or '.join(names)} is not installed")
    return found[0]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cmake, ninja = tool("cmake"), tool("ninja")
    tool("c++", "g++", "clang++")
    build = tmp_path_factory.mktemp("cpp")
    options = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", f"-DPython_EXECUTABLE={sys.executable}"]
    for command in ([cmake, "-S", SOURCE, "-B", build, *options], [cmake, "--build", build]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "run_model"


@pytest.fixture(scope="module")
def built() -> compiler.CompiledModel:
    """A model with kernels, parallel generated code, an integer input and two outputs."""
    return compiler.build(
        graph(
            "float[1,8,40,40] x, int64[2] i",
            "float[32,8,3,3] w, float[32] b",
            {"y": "c = Conv <pads = [1,1,1,1]> (x, w, b) @ = Softplus (c)", "z": "@c = Cast <to = 1> (i) @ = Cos (@c)"},
        ),
        threads=min(2, usable_cores()),
    )


@pytest.fixture(scope="module")
def saved(built: compiler.CompiledModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model.lw"
    built.save(path)
    return path


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_outputs_are_those_of_python(program: Path, built: compiler.CompiledModel, saved: Path) -> None:
    done = run(program, saved, 5)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, time = done.stdout.splitlines()
    assert re.fullmatch(r"median of 5 runs: \d+\.\d{3} ms", time)
    ramp = (np.arange(8 * 40 * 40) % 256 / 256).astype(np.float32).reshape(1, 8, 40, 40)
    answers = built.run({"x": ramp, "i": np.zeros(2, np.int64)})
    expected: list[str | np.ndarray] = ["input x: float32[1, 8, 40, 40]", "input i: int64[2]"]
    expected += ["output y: float32[1, 32, 40, 40]", *answers["y"].reshape(-1)[:8]]
    expected += ["output z: float32[2]", *answers["z"]]
    # Nine digits identify every float32.
    assert [np.float32(line) if line.startswith(" ") else line for line in lines] == expected


def test_a_process_with_fewer_cores_than_the_model_was_built_for(program: Path, saved: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        done = run(program, saved, 1)
    finally:
        os.sched_setaffinity(0, before)
    assert (done.returncode, done.stderr) == (0, "")
    wide = run(program, saved, 1).stdout.splitlines()[:-1]
    for line, other in zip(done.stdout.splitlines()[:-1], wide, strict=True):
        assert np.isclose(float(line), float(other)) if line.startswith(" ") else line == other


@pytest.mark.parametrize("arguments", [(), ("a", "b", "c"), ("a", "0"), ("a", "many")])
def test_wrong_arguments(program: Path, arguments: tuple[str, ...]) -> None:
    done = run(program, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"usage: .*run_model FOLDER \[RUNS\]\n", done.stderr)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("manifest.json", None, r"cannot read .*manifest\.json"),
        ("manifest.json", b"{", r"manifest\.json: is not valid JSON: .*"),
        ("manifest.json", b"[]", r"manifest\.json: an object is expected"),
        ("manifest.json", b"{}", r"manifest\.json: has no format"),
        ("manifest.json", b'{"format": 0}', r"manifest\.json: is of format 0; this version reads formats \d+ to \d+"),
        (
            "manifest.json",
            b'{"format": 5, "segments": [{}]}',
            r"the model has segments that ONNX Runtime .*",
        ),
        (
            "manifest.json",
            b'{"format": 6, "segments": [], "sizes": [{"name": "n", "values": [1, 9, 1]}]}',
            r"the model is for ranges of sizes, which C\+\+ does not support; build it for fixed sizes",
        ),
        ("weights.bin", None, r"cannot read .*weights\.bin"),
        ("weights.bin", b"", r"manifest\.json: a weight is outside of weights\.bin"),
        ("weights.bin", bytes(100), r"manifest\.json: a weight is outside of weights\.bin"),
        ("program.so", None, r".*program\.so.*"),
        ("program.so", b"no program", r".*program\.so.*"),
    ],
)
def test_broken_folders(
    program: Path, saved: Path, tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model.lw"))
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    done = run(program, folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(message + "\n", done.stderr)


def test_a_model_for_another_cpu(program: Path, saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "model.lw"))
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"isa": "neon"}))
    done = run(program, folder)
    assert done.returncode == 1
    assert "neon" in done.stderr
