"""Invalid arguments, which are reported before the model is built."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from compiler.__main__ import main
from compiler.commands.options import shape
from compiler.workloads.target import ISAS, usable_cores

Complaint = Callable[..., str]
ONE_INPUT = "g (float[N, 8] x) => (float[N, 8] y) { y = Relu (x) }"


@pytest.mark.parametrize(
    ("text", "name", "sizes"),
    [
        ("x:1,3,224,224", "x", (1, 3, 224, 224)),
        ("x=1x3x224x224", "x", (1, 3, 224, 224)),
        ("serving:0:5", "serving:0", (5,)),
        ("a=b:2,3", "a=b", (2, 3)),
        ("1x8", "", (1, 8)),
        ("7", "", (7,)),
    ],
)
def test_shapes(text: str, name: str, sizes: tuple[int, ...]) -> None:
    assert shape(text) == (name, sizes)


@pytest.mark.parametrize("text", ["", "x", "x:", "x:1,", "x:1,,2", "x:-1,2", ":1", "x:1.5", "x:1 2", "x:٣"])
def test_invalid_shapes(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not NAME:SIZE"):
        shape(text)


@pytest.mark.parametrize("command", ["build", "run", "bench", "profile"])
def test_wrong_models(command: str, complaint: Complaint, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "folder").mkdir()
    output = ["-o", "out.lw"] if command == "build" else []
    assert complaint(command, "missing.onnx", *output) == "cannot read missing.onnx: No such file or directory"
    assert complaint(command, "text.onnx", *output) == "text.onnx is not an ONNX model: it is a text file"
    none = "folder is not a model: it has no .onnx file; it has no files"
    assert complaint(command, "folder", *output) == none
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    assert complaint(command, "broken.zip", *output).startswith(
        "broken.zip is not a model: it is a damaged or truncated"
    )
    assert not Path("out.lw").exists()


def test_missing_and_invalid_sizes(complaint: Complaint, model_file: Path) -> None:
    dynamic = f"{model_file} has dynamic sizes; give them: --input-shape x:rows,? --input-shape scale:rows,?"
    assert complaint("run", model_file) == dynamic
    assert "'z'" in complaint("run", model_file, "--input-shape", "z:1")
    assert complaint("run", model_file, "--input-shape", "4x8").endswith("name the input; the model has x, scale")
    twice = ("--input-shape", "x:4,8", "--input-shape", "x:4,9")
    assert complaint("run", model_file, *twice) == "argument --input-shape gives x twice"


def test_the_name_of_the_only_input_may_be_left_out(complaint: Complaint) -> None:
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {ONE_INPUT}'), "one.onnx")
    assert "does not fit: dimension 1 is 8" in complaint("run", "one.onnx", "--input-shape", "4x9")


def test_a_batch(complaint: Complaint, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {ONE_INPUT}'), "batch.onnx")
    assert main(["build", "batch.onnx", "--batch", "3", "--threads", "1", "-o", "batch.lw"]) == 0
    assert "float32[3, 8]" in capsys.readouterr().out
    given = ("--batch", "3", "--input-shape", "x:2,8")
    assert "no other input whose first dimension alone is open" in complaint("run", "batch.onnx", *given)
    assert "is not a whole number of 1 or more" in complaint("run", "batch.onnx", "--batch", "0")


@pytest.mark.parametrize("threads", ["0", "-1", "two", str(usable_cores() + 1)])
def test_wrong_numbers_of_threads(threads: str, complaint: Complaint, model_file: Path) -> None:
    printed = complaint("profile", model_file, "--threads", threads)
    assert "is not a whole number" in printed or f"threads must be between 1 and {usable_cores()}" in printed


@pytest.mark.parametrize("command", ["build", "run", "bench", "profile"])
def test_the_former_name_of_fast_algorithms(command: str, complaint: Complaint, model_file: Path) -> None:
    former = "argument --no-winograd: renamed to --no-fast-algorithms"
    assert complaint(command, model_file, "--no-winograd") == former


def test_targets(complaint: Complaint, model_file: Path) -> None:
    assert "invalid choice: 'neon'" in complaint("run", model_file, "--target", "neon")
    import kernels

    if missing := set(ISAS) - set(kernels.available_isas()):
        lacking = missing.pop()
        assert f"this CPU has no {lacking}" in complaint("run", model_file, "--target", lacking)


def test_missing_and_invalid_records(complaint: Complaint, model_file: Path) -> None:
    given = complaint("run", model_file, "--records", "r.sqlite")
    assert given == "argument --records: there is no file r.sqlite"
    Path("records.sqlite").write_text("no database")
    assert "records.sqlite" in complaint("run", model_file)


@pytest.mark.parametrize("option", ["--json", "--html"])
def test_files_are_checked_first(option: str, complaint: Complaint, tmp_path: Path) -> None:
    printed = complaint("profile", "missing.onnx", option, "no/folder/file")
    assert printed == "cannot write no/folder/file: No such file or directory; choose another path"
    assert "Is a directory" in complaint("profile", "missing.onnx", option, tmp_path)
    Path("kept").write_text("as it was")
    assert "missing.onnx" in complaint("profile", "missing.onnx", option, "kept")
    assert Path("kept").read_text() == "as it was"
    assert "missing.onnx" in complaint("profile", "missing.onnx", option, "new")
    assert not Path("new").exists()


def test_outputs_are_checked_first(complaint: Complaint, model_file: Path) -> None:
    Path("file").write_text("")
    assert "it exists and is not a saved model" in complaint("build", model_file, "-o", "file")
    assert "is not a folder" in complaint("build", model_file, "-o", "file/out.lw")
    assert "is not a folder" in complaint("run", model_file, "--output", "file")
    assert "No such file" in complaint("run", model_file, "--output", "no/outputs.npz")
    if os.geteuid() != 0:
        Path("locked").mkdir(mode=0o500)
        assert "no permission" in complaint("build", model_file, "-o", "locked/out.lw")


def test_inputs_that_do_not_fit(complaint: Complaint, model_file: Path) -> None:
    from tests.compiler.commands.conftest import SHAPES

    good = np.zeros((4, 16), np.float32)
    for name, array in {"good": good, "long": np.zeros((5, 16), np.float32), "double": good.astype(float)}.items():
        np.save(name, array)
    np.save("objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez("archive.npz", good)
    Path("text.npy").write_text("no array")
    Path("empty.npy").touch()

    def printed(*inputs: str) -> str:
        return complaint("run", model_file, *SHAPES, *(word for given in inputs for word in ("--input", given)))

    assert printed("y=good.npy") == "argument --input: there is no input 'y'; the model has x, scale"
    assert printed("good.npy") == "argument --input: name the input; the model has x, scale"
    assert printed("x=good.npy", "x=good.npy") == "argument --input gives x twice"
    assert printed("x=long.npy") == "input x must have shape (4, 16), got (5, 16)"
    assert printed("x=double.npy") == "input x must be float32, got float64"
    assert printed("x=missing.npy") == "cannot read missing.npy: No such file or directory"
    assert "it has objects of Python, which are not loaded" in printed("x=objects.npy")
    assert printed("x=archive.npz") == "archive.npz is an archive of .npy files; give a single one"
    assert printed("x=text.npy") == "text.npy is not an .npy file of numbers or strings: it is of another kind"
    assert printed("x=empty.npy") == "empty.npy is not an .npy file of numbers or strings: it is empty"
