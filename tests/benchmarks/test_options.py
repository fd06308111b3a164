"""The benchmark's own command line: what is collected with and without ``--benchmark``, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiler.target import usable_cores

ROOT = Path(__file__).parents[2]


def collect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)


def test_without_the_option_nothing_is_timed() -> None:
    listed = collect().stdout
    assert "test_our_answer[square-512]" in listed
    assert "test_answer_of_peer[square-512-oneDNN]" in listed
    assert "test_speed" not in listed


def test_with_it_everything_is() -> None:
    listed = collect("--benchmark", "--bench-threads", "1").stdout
    assert "square-512" in listed
    assert "answer" not in listed
    assert "2t" not in listed


@pytest.mark.parametrize("counts", ["0", "one,2"])
def test_wrong_thread_counts(counts: str) -> None:
    process = collect("--benchmark", "--bench-threads", counts)
    assert process.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"wants counts between 1 and {usable_cores()} such as 1,2; got '{counts}'" in process.stderr
