"""What all commands have in common."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

COMMANDS = (
    "autotune",
    "autotune.search",
    "benchmarks",
    "benchmarks.ablation",
    "benchmarks.census",
    "benchmarks.tvm_import",
    "benchmarks.layers",
    "benchmarks.models.fetch",
    "benchmarks.optimizer",
    "benchmarks.scaling",
    "benchmarks.serving",
    "benchmarks.whole_models",
    "compiler",
    "graph_passes",
    "optimizer",
    "serving",
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_its_version(command: str) -> None:
    done = run(command, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"loopwright {version('loopwright')}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    name = "autotune.search" if command == "autotune" else command
    assert done.stdout.startswith(f"usage: python -m {name}")
    assert "--version" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_option_is_one_line(command: str) -> None:
    done = run(command, "--no-such-option")
    assert done.returncode == 2
    assert not done.stdout
    assert done.stderr.count("\n") == 1
