"""The command line: its help and its exit codes."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from compiler.__main__ import main
from compiler.commands import COMMANDS, run

HEAVY = {"matplotlib", "onnx", "onnxruntime", "openvino", "pandas", "rich", "torch", "tvm", "tvm_ffi", "xgboost"}


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_loads_nothing_heavy(command: str) -> None:
    argv = [sys.executable, "-X", "importtime", "-m", "compiler", *command.split(), "--help"]
    answer = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert answer.stdout.startswith(f"usage: python -m compiler {command}")
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.stderr.splitlines()}
    assert "numpy" in loaded, "the list of imports was not understood"
    assert not HEAVY & loaded


@pytest.mark.parametrize("argv", [[], ["compile"], ["build", "model.onnx"], ["run", "m.onnx", "--thread", "1"]])
def test_wrong_arguments_are_rejected_in_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RuntimeError("no C compiler\nis found"), 1, "python -m compiler run: no C compiler is found\n"),
        (ImportError("TVM is missing"), 1, "python -m compiler run: TVM is missing\n"),
        (MemoryError(), 1, "python -m compiler run: out of memory\n"),
        (KeyboardInterrupt(), 130, "Interrupted\n"),
    ],
)
def test_failures(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_arguments: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(run, "run", fail)
    assert main(["run", "model.onnx"]) == code
    assert capsys.readouterr().err == message
