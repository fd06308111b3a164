"""``python -m benchmarks`` lists the commands, and each of them answers ``--help``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(COMMANDS)
    for line, (command, about) in zip(lines, COMMANDS.items(), strict=True):
        assert line.startswith(command)
        assert line.endswith(about)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("loopwright ")


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("python")])
def test_a_listed_command_answers(command: str) -> None:
    process = subprocess.run(
        [sys.executable, *command.split()[1:], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.startswith(f"usage: {command} ")


def test_of_the_commands_of_compiler_only_their_shared_modules_are_used() -> None:
    pattern = re.compile(r"^\s*(?:from|import) (compiler\.commands\S*)", re.MULTILINE)
    files = (ROOT / "benchmarks").rglob("*.py")
    shared = {f"compiler.commands.{name}" for name in ("command_line", "output")}
    assert {name for file in files for name in pattern.findall(file.read_text())} == shared
