"""Layers against the peers. ``--benchmark`` measures; without it a few light ones are checked for right answers."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks.groups import GROUPS, Group
from benchmarks.measure import Problem
from benchmarks.own import own_layer
from benchmarks.peers import PEERS
from benchmarks.rowwise import AnyWorkload
from benchmarks.schedules import tuned_schedule
from benchmarks.shapes import Shape
from compiler.target import Target

ROOT = Path(__file__).parents[1]
LIMIT_SECS = 120


@cache
def refusal(group: str) -> str | None:
    """Why our kernels cannot compute a group on this CPU, in their own words; None where they can."""
    problem = Problem(min((shape.workload for shape in GROUPS[group].shapes(1)), key=lambda workload: workload.flops))
    try:
        own_layer(problem.workload, problem.inputs, problem.out, Target.from_host(num_cores=1))
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def test_our_answer(light_layer: tuple[Group, Shape]) -> None:
    group, shape = light_layer
    if reason := refusal(group.name):
        pytest.skip(reason)
    problem = Problem(shape.workload)
    problem.check(own_layer(shape.workload, problem.inputs, problem.out, Target.from_host(num_cores=1)))


def test_answer_of_peer(peer_and_workload: tuple[str, AnyWorkload]) -> None:
    peer, workload = peer_and_workload
    if reason := PEERS[peer].missing():
        pytest.skip(f"{peer}: {reason}")
    problem = Problem(workload)
    try:
        layer = PEERS[peer].layer(workload, problem.inputs, problem.out, threads=1)
    except ValueError as error:
        pytest.skip(f"{peer}: {error}")
    problem.check(layer)


@pytest.mark.measures
def test_speed(
    layer: tuple[Group, Shape],
    threads: int,
    results: list[dict[str, Any]],
    pytestconfig: pytest.Config,
    tmp_path: Path,
) -> None:
    """Measures and reports; nothing is asserted about time."""
    group, shape = layer
    if reason := refusal(group.name):
        pytest.skip(reason)
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
