"""Each command takes a model as a file, as a folder and as a zip archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.__main__ import main
from tests.compiler.commands.conftest import ROWS, SHAPES, WIDTH, expected, network

pytestmark = pytest.mark.tvm
COMMANDS = {
    "build": ("-o", "out.lw", "--check"),
    "run": ("--input", "x=x.npy", "--input", "scale=scale.npy", "--output", "answers.npz"),
    "bench": ("--peers", "onnxruntime", "--duration", "0.1", "--no-pin"),
    "profile": ("--runs", "1"),
}


def _folder() -> Path:
    Path("net").mkdir()
    onnx.save(network(), "net/model.onnx", save_as_external_data=True, location="data.bin", size_threshold=64)
    return Path("net")


def _archive() -> Path:
    files = sorted(_folder().iterdir())
    with zipfile.ZipFile("net.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, f"a/{file.name}")
    for file in files:
        file.unlink()
    return Path("net.zip")


@pytest.mark.parametrize("make", [_folder, _archive], ids=["folder", "archive"])
@pytest.mark.parametrize("command", COMMANDS)
def test_forms_of_a_model(command: str, make: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((ROWS, WIDTH), np.float32), "scale": rng.standard_normal((ROWS, 1), np.float32)}
    for name, array in inputs.items():
        np.save(f"{name}.npy", array)
    assert main([command, str(make()), *SHAPES, "--threads", "1", *COMMANDS[command]]) == 0, capsys.readouterr().err
    if command == "run":
        with np.load("answers.npz") as answers:
            for name, want in expected(**inputs).items():
                np.testing.assert_allclose(answers[name], want, rtol=0, atol=1e-4)
    if command == "build":
        assert main(["run", "out.lw"]) == 0
