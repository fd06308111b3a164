"""Layers compared with baselines. ``--benchmark`` measures; without it the answers of a few light ones are checked."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from benchmarks import selection
from benchmarks.layers.groups import GROUPS, Group
from benchmarks.layers.own import OwnLayer
from benchmarks.layers.problem import Problem
from benchmarks.layers.schedules import tuned_schedule
from benchmarks.layers.shapes import Shape
from benchmarks.peers import PEERS
from compiler.measure import isolated
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

LIMIT_SECS = 120


@cache
def unsupported(group: str) -> str | None:
    """The reason why our kernels do not support a group on this CPU; None if they do."""
    problem = Problem(min((shape.workload for shape in GROUPS[group].shapes(1)), key=lambda workload: workload.flops))
    try:
        OwnLayer(problem.workload, problem.inputs, problem.out, Target.from_host(num_cores=1))
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def test_our_answer(light_layer: tuple[Group, Shape]) -> None:
    group, shape = light_layer
    if reason := unsupported(group.name):
        pytest.skip(reason)
    problem = Problem(shape.workload)
    problem.check(OwnLayer(shape.workload, problem.inputs, problem.out, Target.from_host(num_cores=1)))


def test_answer_of_peer(peer_and_workload: tuple[str, Workload]) -> None:
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
) -> None:
    """Measures and reports. Nothing is asserted about time."""
    group, shape = layer
    if reason := unsupported(group.name):
        pytest.skip(reason)
    option = pytestconfig.option
    records = selection.records(option)
    tuned = tuned_schedule(shape.workload, threads, records, option.bench_trials) if records else None
    arguments = [shape.name, "--threads", str(threads)]
    if tuned is not None:
        arguments += ["--schedule", json.dumps(tuned.to_json())]
    results.append(isolated.run("benchmarks.layers", arguments, LIMIT_SECS))
