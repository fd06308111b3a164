"""Ranges of sizes on the command line: ``build`` accepts them, and what is built runs at sizes that are given."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import compiler
from compiler.__main__ import main
from compiler.commands.options import shape, written_shape
from tests.compiler.commands.conftest import WIDTH, Built, expected

pytestmark = pytest.mark.tvm
Complaint = Callable[..., str]
RANGES = ("--input-shape", f"x:1..32,{WIDTH}", "--input-shape", "scale=1..32x1")
COMMANDS = {
    "run": (),
    "bench": ("--peers", "onnxruntime", "--duration", "0.1", "--no-pin"),
    "profile": ("--runs", "1"),
}


@pytest.fixture(scope="module")
def ranged(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("ranged")
    saved, file = folder / "model.lw", folder / "model.json"
    argv = ["build", str(model_file), "-o", str(saved), *RANGES, "--threads", "1", "--json", str(file)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(argv) == 0
    return Built(model_file, saved, file, printed.getvalue())


# The option


@pytest.mark.parametrize(
    ("text", "name", "sizes"),
    [
        ("ids:1,1..512", "ids", (1, range(1, 513))),
        ("ids=1..8x1..512", "ids", (range(1, 9), range(1, 513))),
        ("x:1,3,32..320..32,32..320..32", "x", (1, 3, range(32, 321, 32), range(32, 321, 32))),
        ("1..2", "", (range(1, 3),)),
        ("a:0:1..7..3", "a:0", (range(1, 8, 3),)),
        ("x:1..8..3", "x", (range(1, 9, 3),)),
    ],
)
def test_shapes_with_ranges(text: str, name: str, sizes: tuple[int | range, ...]) -> None:
    assert shape(text) == (name, sizes)
    again = shape(written_shape(name or "x", sizes))
    assert again == (name or "x", sizes)


@pytest.mark.parametrize(
    "text",
    [
        "x:1..",
        "x:..5",
        "x:1...5",
        "x:1..5..",
        "x:1..5..1..1",
        "x:a..5",
        "x:1..-5",
        "x:1.5",
        "x:1..5,",
        "x:1 .. 5",
        "x:١..٣",
    ],
)
def test_what_does_not_give_a_shape(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not NAME:SIZE,\.\.\. such as .* or ids:1,1\.\.512$"):
        shape(text)


@pytest.mark.parametrize("text", ["5..5", "5..1", "0..5", "1..5..0", "1..5..5", "8..1..2"])
def test_what_does_not_give_a_range(text: str) -> None:
    line = f"'{text}' is not a range: FIRST..LAST or FIRST..LAST..STEP, from 1 on, ascending"
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{re.escape(line)}$"):
        shape(f"x:2,{text}")


# build


def test_the_output(ranged: Built) -> None:
    first, second, *_ = ranged.output.splitlines()
    assert first == f"{ranged.onnx}: x:1..32,{WIDTH} scale:1..32,1"
    assert ", 1 thread: 1 " in second
    assert "\nLayers on our kernels: 1; generated functions: " in ranged.output
    assert f"\nSaved: {ranged.saved} (" in ranged.output
    assert "tune" not in ranged.output
    assert "Records" not in ranged.output


def test_the_files(ranged: Built) -> None:
    content = json.loads(ranged.json.read_text())
    assert content["untuned"] == []
    assert len(content["layers"]) == len(content["tunable"]) == 1
    assert content["generated"]
    assert content["segments"] == []
    found = compiler.load(ranged.saved)
    assert isinstance(found, compiler.RangedModel)
    assert [(size.name, size.values) for size in found.sizes] == [("rows", range(1, 33))]
    assert [layer.name for layer in found.layers] == content["layers"]


def test_a_check_is_for_fixed_sizes(complaint: Complaint, model_file: Path) -> None:
    line = "argument --check: it is for fixed sizes, and --input-shape has ranges"
    assert complaint("build", model_file, "-o", "out.lw", *RANGES, "--check") == line
    assert not Path("out.lw").exists()


def test_two_ranges_of_one_size(complaint: Complaint, model_file: Path) -> None:
    shapes = ("--input-shape", f"x:1..32,{WIDTH}", "--input-shape", "scale:1..16,1")
    assert complaint("build", model_file, "-o", "out.lw", *shapes) == "rows is given as 1 to 32 and as 1 to 16"
    assert not Path("out.lw").exists()


def test_sizes_that_one_program_cannot_serve(complaint: Complaint) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[n,4] x) => (float[] y) { s = Squeeze (x) y = Neg (s) }'
    onnx.save(onnx.parser.parse_model(text), "squeeze.onnx")
    line = complaint("build", "squeeze.onnx", "-o", "out.lw", "--input-shape", "x:1..9,4", "--threads", "1")
    assert line.endswith("; give smaller ranges, or numbers")
    assert not Path("out.lw").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_ranges_of_a_model_that_is_not_built(command: str, complaint: Complaint, model_file: Path) -> None:
    line = "argument --input-shape: ranges are for build; give numbers, or build the model and run that"
    assert complaint(command, model_file, *RANGES, "--threads", "1") == line


# What is built


@pytest.mark.parametrize("rows", [1, 7, 32])
@pytest.mark.parametrize("source", ["shapes", "one shape", "files", "one file"])
def test_sizes_of_a_run(ranged: Built, rows: int, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(rows)
    arrays = {"x": rng.standard_normal((rows, WIDTH), np.float32), "scale": rng.standard_normal((rows, 1), np.float32)}
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    given = {
        "shapes": ("--input-shape", f"x:{rows},{WIDTH}", "--input-shape", f"scale:{rows},1"),
        "one shape": ("--input-shape", f"x:{rows},{WIDTH}"),
        "files": ("--input", "x=x.npy", "--input", "scale=scale.npy"),
        "one file": ("--input", "x=x.npy"),
    }[source]
    assert main(["run", str(ranged.saved), *given, "--output", "y.npz"]) == 0
    printed = capsys.readouterr().out
    assert f"x: float32[{rows}, {WIDTH}]" in printed
    assert f"scale: float32[{rows}, 1]" in printed
    with np.load("y.npz") as archive:
        answers = dict(archive)
    assert answers["layer/relu:0"].shape == (rows, 9)
    if source == "files":
        eps, largest = float(np.finfo(np.float32).eps), max(float(np.abs(array).max()) for array in arrays.values())
        for name, want in expected(**arrays).items():
            # The error of a sum of WIDTH products, or of rows of such sums, is at most the number of terms times eps.
            terms = rows * WIDTH * largest**2 * 4
            np.testing.assert_allclose(answers[name], want, rtol=0, atol=(rows + WIDTH) * eps * terms)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_at_a_size(command: str, ranged: Built, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [command, str(ranged.saved), "--input-shape", f"x:5,{WIDTH}", *COMMANDS[command]]
    if command == "bench":
        argv = [command, str(ranged.saved), "--input-shape", f"x:5,{WIDTH}", "--duration", "0.1", "--no-pin"]
    assert main(argv) == 0, capsys.readouterr().err
    assert f"x: float32[5, {WIDTH}]" in capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_sizes_that_are_missing(command: str, ranged: Built, complaint: Complaint) -> None:
    shapes = f"--input-shape x:rows,{WIDTH} --input-shape scale:rows,1"
    line = f"{ranged.saved} serves ranges of sizes; choose rows from 1 to 32: {shapes}"
    assert complaint(command, ranged.saved) == line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("rows", [0, 33])
def test_sizes_out_of_range(command: str, rows: int, ranged: Built, complaint: Complaint) -> None:
    line = f"{ranged.saved}: dimension 0 of input x is {rows}; rows may be 1 to 32"
    assert complaint(command, ranged.saved, "--input-shape", f"x:{rows},{WIDTH}") == line


def test_files_out_of_range(ranged: Built, complaint: Complaint) -> None:
    np.save("x.npy", np.zeros((33, WIDTH), np.float32))
    line = f"{ranged.saved}: dimension 0 of input x is 33; rows may be 1 to 32"
    assert complaint("run", ranged.saved, "--input", "x=x.npy") == line


def test_sizes_that_disagree(ranged: Built, complaint: Complaint) -> None:
    shapes = ("--input-shape", f"x:5,{WIDTH}", "--input-shape", "scale:6,1")
    line = f"{ranged.saved}: rows is 5 in dimension 0 of input x, and 6 in dimension 0 of input scale"
    assert complaint("run", ranged.saved, *shapes) == line
    np.save("x.npy", np.zeros((4, WIDTH), np.float32))
    line = complaint("run", ranged.saved, "--input", "x=x.npy", "--input-shape", "scale:6,1")
    assert "rows is 4" in line
    both = complaint("run", ranged.saved, "--input", "x=x.npy", "--input-shape", f"x:6,{WIDTH}")
    assert "x" in both
    assert "4" in both


def test_shapes_that_do_not_fit(ranged: Built, complaint: Complaint) -> None:
    again = "argument --input-shape: {} is built already; give one number for each size"
    assert complaint("run", ranged.saved, *RANGES) == again.format(ranged.saved)
    line = "argument --input-shape: there is no input 'z'; the model has x, scale"
    assert complaint("run", ranged.saved, "--input-shape", "z:5,1") == line
    fixed = f"argument --input-shape: 5,{WIDTH + 1} does not fit x: float32[rows, {WIDTH}]"
    assert complaint("run", ranged.saved, "--input-shape", f"x:5,{WIDTH + 1}") == fixed
    rank = f"argument --input-shape: 5 does not fit x: float32[rows, {WIDTH}]"
    assert complaint("run", ranged.saved, "--input-shape", "x:5") == rank
    nameless = "argument --input-shape: there is no input ''; the model has x, scale"
    assert complaint("run", ranged.saved, "--input-shape", f"5,{WIDTH}") == nameless
    twice = ("--input-shape", f"x:5,{WIDTH}", "--input-shape", f"x:6,{WIDTH}")
    assert complaint("run", ranged.saved, *twice) == "argument --input-shape gives x twice"


@pytest.mark.parametrize("option", [("--records", "r.sqlite"), ("--no-fast-algorithms",)], ids=str)
def test_options_of_a_build(option: tuple[str, ...], ranged: Built, complaint: Complaint) -> None:
    line = complaint("run", ranged.saved, "--input-shape", f"x:5,{WIDTH}", *option)
    assert line.startswith(f"{option[0]}: {ranged.saved} is built already")
