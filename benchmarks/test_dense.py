"""Dense against the peers. ``--benchmark`` measures; without it the same layers are only checked for right answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measure import check_answer, own_contender, peer_contender
from benchmarks.peers import PEERS
from benchmarks.schedules import tuned_schedule
from benchmarks.shapes import SHAPES, Shape
from compiler.reference import make_inputs, reference, tolerance
from compiler.spaces import space
from compiler.target import Target
from compiler.workload import Workload

ROOT = Path(__file__).parents[1]
LIMIT_SECS = 120


@dataclass(frozen=True)
class Problem:
    """A layer with inputs, its answer in float64 and the error that float32 may make on it."""

    workload: Workload
    inputs: Mapping[str, np.ndarray]
    expected: np.ndarray
    allowed: np.ndarray


@pytest.fixture(params=SHAPES, ids=lambda shape: shape.name, scope="module")
def problem(request: pytest.FixtureRequest) -> Problem:
    workload = request.param.workload
    inputs = make_inputs(workload)
    return Problem(workload, inputs, reference(workload, inputs), tolerance(workload, inputs))


def test_our_answer(problem: Problem) -> None:
    target = Target.from_host(num_cores=1)
    schedule = space("kernel", problem.workload, target).default()
    ours = own_contender(problem.workload, problem.inputs, target, schedule)
    check_answer(ours, problem.expected, problem.allowed)


@pytest.mark.parametrize("peer", PEERS)
def test_answer_of_peer(peer: str, problem: Problem) -> None:
    if reason := PEERS[peer].missing():
        pytest.skip(f"{peer}: {reason}")
    theirs = peer_contender(peer, problem.workload, problem.inputs, threads=1)
    check_answer(theirs, problem.expected, problem.allowed)


@pytest.mark.measures
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_speed(
    shape: Shape, threads: int, results: list[dict[str, Any]], pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Measures and reports; nothing is asserted about time."""
    option = pytestconfig.option
    records = option.bench_records or option.bench_results / "records.sqlite"
    tuned = tuned_schedule(shape.workload, threads, records, option.bench_trials)
    out = tmp_path / "result.json"
    command = [sys.executable, "-m", "benchmarks.measure", shape.name, "--threads", str(threads), "--json", str(out)]
    if tuned is not None:
        command += ["--schedule", json.dumps(tuned.to_json())]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECS, check=False)
    assert process.returncode == 0, process.stderr
    results.append(json.loads(out.read_text()))
