"""The measurement of one layer, in a separate process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import PEERS
from compiler.workloads.target import usable_cores


def measure(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.layers", *arguments]
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=100, check=False
    )


def test_samples_of_every_implementation(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    process = measure("awkward-thin", "--samples", "4", "--slice-secs", "0.001", "--json", str(out))
    assert process.returncode == 0, process.stderr
    result = json.loads(out.read_text())
    assert result["shape"] == "awkward-thin"
    assert len(result["cores"]) == result["threads"] == 1
    assert set(result["implementations"]) == {"default"} | set(result["versions"])
    (part,) = result["traffic"]
    assert part["bytes"] == 4 * (5 * 1021 + 31 * 1021 + 5 * 31 + 31)
    assert part["level"] == "L2"  # 148 KB on one core
    for measured in result["implementations"].values():
        assert len(measured["secs"]) == 4
        assert all(1e-9 < secs < 1 for secs in measured["secs"])


@pytest.mark.skipif(PEERS["oneDNN"].missing() is not None, reason="oneDNN is not installed")
def test_cold_weights_are_several_copies(tmp_path: Path) -> None:
    out = tmp_path / "result.json"
    process = measure("efficientnet-lite0-7a-project", "--samples", "2", "--slice-secs", "0.001", "--json", str(out))
    assert process.returncode == 0, process.stderr
    result = json.loads(out.read_text())
    assert (result["group"], result["batch"]) == ("conv1x1", 1)
    assert result["occurrences"] == {"efficientnet-lite0": 1}
    assert result["copies"] >= 2
    activations, weights = 49 * (1152 + 320) * 4, (1152 + 1) * 320 * 4
    assert [part["bytes"] for part in result["traffic"]] == [activations, weights]
    near, far = (part["level"] for part in result["traffic"])
    assert (near in ("L2", "L3"), far) == (True, "memory")
    assert all(part["gbs"] > 0 for part in result["traffic"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-shape"], "unknown shape 'no-such-shape'"),
        (["square-512", "--threads", "0"], "argument --threads: '0' is not a whole number of 1 or more"),
        (["square-512", "--threads", str(usable_cores() + 1)], "threads must be between 1 and"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    process = measure(*arguments, "--json", str(tmp_path / "result.json"))
    assert process.returncode == 2
    assert message in process.stderr
    assert process.stderr.count("\n") == 1
