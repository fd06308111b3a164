"""The command as a user runs it: what it prints and writes, and the one line that a mistake is answered with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import graph_passes
from graph_passes import DEFAULT_PASSES, PASSES, Pass, Remark
from graph_passes import __main__ as command
from graph_passes.lazy import ir
from tests.graph_passes import oracle

ROOT = Path(__file__).resolve().parents[2]
NAMES = [a_pass.name for a_pass in DEFAULT_PASSES]


def network() -> onnx.ModelProto:
    """Convolution, batch normalization and an activation, then a strided convolution that skips pixels."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[N, 3, 9, 9] x) => (float[N, 4, 5, 5] y) '
        "{ c = Conv<pads = [1, 1, 1, 1]>(x, w1)  b = BatchNormalization(c, s, s, s, v)  r = Relu(b)  i = Identity(r) "
        "  y = Conv<strides = [2, 2]>(i, w2) }"
    )
    rng = np.random.default_rng(0)
    for name, shape in {"w1": (16, 3, 3, 3), "w2": (4, 16, 1, 1), "s": (16,)}.items():
        model.graph.initializer.append(numpy_helper.from_array(rng.standard_normal(shape, np.float32), name))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(16, np.float32), "v"))
    return model


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Changes to a folder that contains the model in.onnx."""
    monkeypatch.chdir(tmp_path)
    onnx.save(network(), "in.onnx")
    return tmp_path


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "graph_passes", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def succeed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Runs the command, which must succeed, and returns its output."""
    assert command.main(["in.onnx", "out.onnx", *argv]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    return output.out


def complaint(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Runs the command, which must fail without writing files, and returns its error message."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as stop:
        command.main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert sorted(Path().rglob("*")) == before
    return line.removeprefix("python -m graph_passes: error: ")


# From end to end


def test_everything_at_once(folder: Path) -> None:
    before = (folder / "in.onnx").read_bytes()
    done = run("in.onnx", "out.onnx", "--check", "--each", "--verbose", "--json", "out.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout, "a pipe gets plain text"

    title, rule, *rows = done.stdout.splitlines()[: 2 + len(NAMES)]
    assert title.split() == ["pass", "nodes", "parameters", "multiply-adds", "seconds"]
    assert set(rule) == {"-", " "}
    assert [row.split()[0] for row in rows] == NAMES
    assert {len(line) for line in (title, rule, *rows)} == {len(title)}, "columns are of equal width"
    assert "freeze_shapes: input x: batch dimension N becomes 1" in done.stdout
    assert "\nLeft: 1 loopwright.Conv_bias_relu, 1 Conv (2 nodes, 12.4 k multiply-adds)\n" in done.stdout
    assert "\noutput y: largest difference " in done.stdout
    assert done.stdout.endswith("\nWritten: out.onnx\n")

    written = onnx.load("out.onnx")
    onnx.checker.check_model(written, full_check=True)
    oracle.assert_same(network(), written, oracle.random_inputs(network(), 0))
    for place, name in enumerate(NAMES, 1):
        step = onnx.load(f"out.{place}.{name}.onnx")
        onnx.checker.check_model(step, full_check=True)
        oracle.assert_same(network(), step, oracle.random_inputs(network(), 0))
    assert (folder / "in.onnx").read_bytes() == before
    assert len(list(folder.iterdir())) == 3 + len(NAMES)

    content = json.loads((folder / "out.json").read_text())
    assert list(content) == ["passes", "operators", "check"]
    assert [report["name"] for report in content["passes"]] == NAMES
    assert content["operators"] == {"Conv": 1, "loopwright.Conv_bias_relu": 1}
    (check,) = content["check"]
    assert check["output"] == "y"
    assert 0 < check["relative"] <= check["allowed"] < 1e-4


def test_the_file_has_what_the_table_says(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    out = succeed(capsys, "--json", "out.json")
    content = json.loads((folder / "out.json").read_text())
    assert content["check"] == []
    rows = {line.split()[0]: line for line in out.splitlines() if line.split() and line.split()[0] in NAMES}
    first, *rest = content["passes"]
    assert (first["nodes_before"], first["params_before"], first["macs_before"]) == (5, 16 * 27 + 64 + 32, None)
    assert first["macs_after"] == 81 * 16 * 27 + 25 * 64
    for earlier, later in zip(content["passes"], rest, strict=False):
        for what in ("nodes", "params", "macs"):
            assert earlier[f"{what}_after"] == later[f"{what}_before"]
    by_name = {report["name"]: report for report in content["passes"]}
    assert by_name["optimize_strides"]["macs_after"] == 25 * 16 * 27 + 25 * 64
    assert "unknown -> 36.6 k" in rows["freeze_shapes"]
    assert "36.6 k -> 12.4 k" in rows["optimize_strides"]
    assert "5 -> 4" in rows["fold_constants"]


# Passes and their parameters


def ran(folder: Path) -> list[str]:
    return [report["name"] for report in json.loads((folder / "out.json").read_text())["passes"]]


def test_passes_are_chosen(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    succeed(capsys, "--passes", "fold_batch_norm,freeze_shapes", "--json", "out.json")
    assert ran(folder) == ["fold_batch_norm", "freeze_shapes"], "in the order in which they are named"
    succeed(capsys, "--skip", "fuse_layers,fold_constants", "--json", "out.json")
    assert ran(folder) == [name for name in NAMES if name not in ("fuse_layers", "fold_constants")]
    assert {node.domain for node in onnx.load("out.onnx").graph.node} == {""}
    succeed(capsys, "--skip", ",".join(NAMES), "--json", "out.json")
    assert ran(folder) == []
    oracle.assert_same(network(), onnx.load("out.onnx"), oracle.random_inputs(network(), 0))


def test_shapes_and_parameters_reach_their_passes(capsys: pytest.CaptureFixture[str]) -> None:
    def batch() -> int:
        return onnx.load("out.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value

    succeed(capsys, "--input-shape", "x:2,3,9,9", "--check")
    assert batch() == 2
    succeed(capsys, "--freeze-shapes-batch", "4")
    assert batch() == 4
    arguments = command.parser().parse_args(
        ["in", "out", "--fuse-layers-depthwise-pointwise", "--fold-constants-largest", "7"]
    )
    assert vars(arguments)["fuse_layers.depthwise_pointwise"] is True
    assert vars(arguments)["fold_constants.largest"] == 7


@dataclass(frozen=True)
class Wrong(Pass):
    """Multiplies the weights of convolutions by a wrong factor."""

    name: ClassVar[str] = "wrong"
    percent: int = field(default=1, metadata={"help": "how much too large weights become"})
    quietly: bool = field(default=True, metadata={"help": "report nothing"})

    def apply(self, model: ir.Model) -> Iterable[Remark]:
        for value in model.graph.initializers.values():
            if value.const_value is not None and len(value.const_value.shape) == 4:
                array = value.const_value.numpy()
                value.const_value = ir.tensor((array * (1 + self.percent / 100)).astype(array.dtype), name=value.name)
                if not self.quietly:
                    yield Remark(str(value.name), "is wrong now")


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds a pass as a developer would: one file and one entry of the tuple."""
    passes = (*DEFAULT_PASSES, Wrong())
    for module in (graph_passes, command):
        monkeypatch.setattr(module, "DEFAULT_PASSES", passes)
        monkeypatch.setattr(module, "PASSES", {**PASSES, "wrong": Wrong})


@pytest.mark.usefixtures("wrong")
def test_a_wrong_answer_is_not_written(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "out.onnx").write_bytes(b"what was there")
    assert command.main(["in.onnx", "out.onnx", "--check", "--json", "out.json"]) == 1
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith("python -m graph_passes: output y differs by ")
    assert line.endswith(" allowed; nothing written")
    assert "Written" not in output.out
    assert (folder / "out.onnx").read_bytes() == b"what was there"
    assert not (folder / "out.json").exists()
    succeed(capsys, "--skip", "wrong", "--check")


@pytest.mark.usefixtures("wrong")
def test_fields_of_a_pass_are_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "--no-wrong-quietly", "--verbose")
    assert "wrong: w2: is wrong now" in out
    assert "is wrong now" not in succeed(capsys, "--verbose")
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--wrong-percent N how much too large weights become (default: 1)" in text
    assert "--wrong-quietly, --no-wrong-quietly" in text


# Mistakes

MISTAKES: dict[str, tuple[list[str], str]] = {
    "nothing": ([], "IN.onnx, OUT.onnx"),
    "one file": (["in.onnx"], "OUT.onnx"),
    "missing": (["missing.onnx", "out.onnx"], "cannot read missing.onnx: No such file or directory"),
    "folder": ([".", "out.onnx"], ". has 2 models: half.onnx, in.onnx; give one of them"),
    "text": (["notes.txt", "out.onnx"], "notes.txt is not an ONNX model: it is a text file"),
    "cut off": (
        ["half.onnx", "out.onnx"],
        "half.onnx is not an ONNX model: it begins like one, but is truncated or damaged",
    ),
    "no output folder": (["in.onnx", "away/out.onnx"], "cannot write away/out.onnx: there is no folder away"),
    "output is a folder": (["in.onnx", "."], "cannot write .: it is a folder"),
    "no json folder": (["in.onnx", "out.onnx", "--json", "away/a.json"], "there is no folder away"),
    "unknown pass": (["in.onnx", "out.onnx", "--passes", "fold"], "no pass 'fold'; choose from: freeze_shapes, "),
    "empty pass": (["in.onnx", "out.onnx", "--passes", ""], "no pass ''; choose from: freeze_shapes, "),
    "skips unknown": (["in.onnx", "out.onnx", "--skip", "a,b"], "no pass 'a'; choose from: freeze_shapes, "),
    "both": (["in.onnx", "out.onnx", "--skip", "fuse_layers", "--passes", "fuse_layers"], "not allowed with"),
    "parameter": (["in.onnx", "out.onnx", "--freeze-shapes-batch", "0"], "'0' is not an integer of 1 or more"),
    "large parameter": (["in.onnx", "out.onnx", "--freeze-shapes-batch", "9" * 30], "is not an integer"),
    "option": (["in.onnx", "out.onnx", "--frobnicate"], "--frobnicate"),
    "abbreviation": (["in.onnx", "out.onnx", "--verb"], "--verb"),
}
SHAPES: dict[str, tuple[str, str]] = {
    "no sizes": ("x", "'x' is not NAME:SIZE,... such as x:1,3,224,224"),
    "no name": (":1,3", "':1,3' is not NAME:SIZE"),
    "empty": ("x:", "'x:' is not NAME:SIZE"),
    "letters": ("x:1,a", "'x:1,a' is not NAME:SIZE"),
    "negative": ("x:-1,3,9,9", "'x:-1,3,9,9' is not NAME:SIZE"),
    "digits of another script": ("x:١,٣", "is not NAME:SIZE"),
    "huge": ("x:1,3,9," + "9" * 30, "is not NAME:SIZE"),
    "nothing": ("x:0,3,9,9", "shape 0x3x9x9 given for x has a size below 1"),
    "no such input": ("z:1,3,9,9", "a shape is given for 'z'; the model's inputs are x Nx3x9x9"),
    "rank": ("x:1,3", "shape 1x3 given for x has 2 dimensions; the model has x Nx3x9x9"),
    "fixed": ("x:1,4,9,9", "shape 1x4x9x9 given for x does not fit: dimension 1 is 3 in the model"),
}


@pytest.mark.parametrize(("argv", "part"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_answered_in_one_line(
    argv: list[str], part: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "notes.txt").write_text("These are notes, and no model.\n" * 9)
    (folder / "half.onnx").write_bytes((folder / "in.onnx").read_bytes()[:-100])
    assert part in complaint(capsys, *argv)


@pytest.mark.parametrize(("shape", "part"), SHAPES.values(), ids=SHAPES)
def test_a_shape_that_does_not_fit_is_rejected(shape: str, part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert part in complaint(capsys, "in.onnx", "out.onnx", "--input-shape", shape)


def test_shapes_that_contradict_each_other_or_reach_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("in.onnx", "out.onnx", "--input-shape", "x:1,3,9,9")
    assert complaint(capsys, *given, "--input-shape", "x:2,3,9,9") == "--input-shape gives x twice"
    assert "input shapes need the pass freeze_shapes, which is not among the passes" in complaint(
        capsys, *given, "--skip", "freeze_shapes"
    )


def test_a_name_may_have_colons(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[N] x) => (float[N] y) { y = Neg(x) }'
    )
    model.graph.input[0].name = model.graph.node[0].input[0] = "serving:0"
    onnx.save(model, "in.onnx")
    succeed(capsys, "--input-shape", "serving:0:5")
    assert onnx.load("out.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 5


def test_a_check_needs_every_size(capsys: pytest.CaptureFixture[str]) -> None:
    line = complaint(capsys, "in.onnx", "out.onnx", "--check", "--skip", "freeze_shapes")
    assert line == "input x has a dynamic shape; give it one (--input-shape x:1,...)"


def test_a_model_that_cannot_be_run_cannot_be_checked(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Without ``--check`` it is optimized."""
    text = '<ir_version: 8, opset_import: ["" : 18]> g (float[2] x) => (float[2] y) { y = Frobnicate(x) }'
    onnx.save(onnx.parser.parse_model(text), "in.onnx")
    assert command.main(["in.onnx", "out.onnx", "--check"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m graph_passes: ONNX Runtime rejects the optimized model: ")
    assert not (folder / "out.onnx").exists()
    assert "Left: 1 Frobnicate" in succeed(capsys)


def test_a_file_that_cannot_be_written_is_a_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "out.onnx")

    monkeypatch.setattr(graph_passes.Optimized, "save", full)
    assert command.main(["in.onnx", "out.onnx"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "python -m graph_passes: cannot write out.onnx: No space left on device"
    ]


@pytest.mark.parametrize("option", ["OUT", "--json"])
def test_a_folder_without_permission_is_noticed_before_the_work(
    option: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("locked").mkdir()
    locked = Path("locked").absolute()
    monkeypatch.setattr(os, "access", lambda place, _: place != locked)  # root has every permission
    given = ["locked/out.onnx"] if option == "OUT" else ["out.onnx", "--json", "locked/out.onnx"]
    line = complaint(capsys, "in.onnx", *given)
    assert line == f"cannot write locked/out.onnx: no permission to write to {locked}"


def test_the_version_needs_no_files() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"loopwright \S.*\n", done.stdout)


def test_a_mistake_shows_no_traceback() -> None:
    done = run("missing.onnx", "out.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "python -m graph_passes: error: cannot read missing.onnx: No such file or directory\n"
