"""A measurement end to end, in the process of its own that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.layers.measure import ALIGNMENT, aligned, check_answer
from benchmarks.peers import PEERS
from compiler.workloads.target import usable_cores

ROOT = Path(__file__).parents[3]


def measure(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.layers.measure", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_samples_of_every_contender(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    process = measure("awkward-thin", "--samples", "4", "--slice-secs", "0.001", "--json", str(out))
    assert process.returncode == 0, process.stderr
    result = json.loads(out.read_text())
    assert result["shape"] == "awkward-thin"
    assert len(result["cores"]) == result["threads"] == 1
    assert set(result["contenders"]) == {"default"} | set(result["versions"])
    for contender in result["contenders"].values():
        assert len(contender["secs"]) == 4
        assert all(1e-9 < secs < 1 for secs in contender["secs"])


@pytest.mark.skipif(PEERS["oneDNN"].missing() is not None, reason="oneDNN is not installed")
def test_cold_weights_are_several_copies(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    process = measure("efficientnet-lite0-7a-project", "--samples", "2", "--slice-secs", "0.001", "--json", str(out))
    assert process.returncode == 0, process.stderr
    result = json.loads(out.read_text())
    assert (result["group"], result["batch"]) == ("conv1x1", 1)
    assert result["occurrences"] == {"efficientnet-lite0": 1}
    assert result["copies"] >= 2
    weights = 1152 * 320 * 4
    assert [part["bytes"] for part in result["traffic"]] == [(49 * (1152 + 320) + 320) * 4, weights]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-shape"], "unknown shape 'no-such-shape'"),
        (["square-512", "--threads", "0"], "--threads must be between 1 and"),
        (["square-512", "--threads", str(usable_cores() + 1)], "--threads must be between 1 and"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    process = measure(*arguments, "--json", str(tmp_path / "result.json"))
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


class Stub:
    implementation, algorithm = "a stub", "direct"

    def __init__(self, answer: np.ndarray) -> None:
        self._answer = answer

    def run(self) -> np.ndarray:
        return self._answer

    def time(self, number: int, repeat: int) -> list[float]:
        return [1.0 / number] * repeat

    def copy(self) -> Stub:
        return self


def test_an_answer_within_the_tolerance_is_right() -> None:
    check_answer(Stub(np.array([1.0, 2.5])), np.array([1.0, 2.0]), np.array([0.1, 0.5]))


@pytest.mark.parametrize("wrong", [2.6, np.nan, np.inf])
def test_an_answer_beyond_it_is_wrong(wrong: float) -> None:
    with pytest.raises(ArithmeticError, match=r"wrong answer, .* times the tolerance: a stub"):
        check_answer(Stub(np.array([1.0, wrong])), np.array([1.0, 2.0]), np.array([0.1, 0.5]))


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_arrays_are_aligned(dtype: type) -> None:
    array = np.arange(35, dtype=dtype).reshape(5, 7).T
    copy = aligned(array)
    assert copy.ctypes.data % ALIGNMENT == 0
    assert copy.flags.c_contiguous
    assert (copy == array).all()
