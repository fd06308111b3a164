"""``--machine`` of the commands, and what they say about the machine model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compiler.__main__ import main
from compiler.commands.build import tuning_command
from compiler.commands.options import BuildOptions
from kernels import MachineModel
from tests.compiler.commands.conftest import SHAPES, Built
from tests.kernels.machine_models import with_lines

pytestmark = pytest.mark.tvm
OTHER = with_lines({"ghz": "1.25"})


def test_build_names_the_machine_model(built: Built) -> None:
    host = MachineModel.host()
    assert f"\nMachine model: {host.id}\n" in built.output
    assert ("python -m kernels.calibrate" in built.output) == (not host.measured)
    assert json.loads(built.json.read_text())["target"]["machine"] == host.id


def test_another_machine_model(built: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.csv").write_text(OTHER.text)
    words = ["build", str(built.onnx), "-o", "other.lw", "--threads", "1", "--machine", "other.csv", "--json", "o.json"]
    assert main([*words, *SHAPES]) == 0
    printed = capsys.readouterr().out
    assert f"\nMachine model: {OTHER.id}\n" in printed
    assert "--machine other.csv" in printed, "the command that tunes the layers"
    assert json.loads(Path("o.json").read_text())["target"]["machine"] == OTHER.id
    assert json.loads(Path("other.lw/manifest.json").read_text())["target"]["machine"] == OTHER.id


@pytest.mark.parametrize("command", ["build", "run", "bench", "profile"])
def test_a_bad_machine_model_is_one_line(built: Built, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.csv").write_text("nothing\n")
    output = ["-o", "bad.lw"] if command == "build" else []
    with pytest.raises(SystemExit) as raised:
        main([command, str(built.onnx), *output, *SHAPES, "--machine", "bad.csv"])
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "bad.csv is not a machine model" in line


def test_a_saved_model_has_its_machine(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["run", str(built.saved), "--machine", "interpolated"])
    assert raised.value.code == 2
    assert "--machine: " in capsys.readouterr().err


def test_the_tuning_command_repeats_the_machine() -> None:
    words = tuning_command(Path("m.onnx"), BuildOptions(machine="my models/a.csv"), {}, 1)
    assert "--machine 'my models/a.csv'" in words
