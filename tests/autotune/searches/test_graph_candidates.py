from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path

import pytest

from autotune import backends
from autotune.searches.graph_candidates import Candidate, best_of_each, candidates
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from kernels import MachineModel
from tests.autotune.tiny_model import dense_layer

# Nothing is built, so these schedules exist on any machine.
SPACE_OF = partial(backends.space, "kernel")
CONVOLUTION = Workload.conv2d(1, 8, 8, 16, 16, 3, padding=1)
LARGE = Workload.conv2d(1, 56, 56, 64, 64, 3, padding=1)


@pytest.fixture
def target() -> Target:
    return dataclasses.replace(Target.from_host(num_cores=1), num_cores=2, machine=MachineModel.interpolated(2))


def add(records: Records, workload: Workload, target: Target, schedule: Schedule, secs: float) -> None:
    records.add(Record(workload, target, schedule, Measurement((secs,))))


def some(workload: Workload, target: Target, count: int) -> list[Schedule]:
    """Distinct legal schedules."""
    space = backends.space("kernel", workload, target)
    found = {space.default(): None}
    for _, _, neighbor in space.neighbors(space.default()):
        found[neighbor] = None
    if len(found) < count:
        pytest.skip("this CPU's kernels have no schedules to choose from")
    return list(found)[:count]


def test_the_fastest_few_come_first_and_then_the_default(target: Target, tmp_path: Path) -> None:
    on_one = dataclasses.replace(target, num_cores=1)
    offered = some(LARGE, target, 7)
    with Records(tmp_path / "r.sqlite") as records:
        for place, schedule in enumerate(offered):
            add(records, LARGE, target, schedule, 1.0 + place)
        add(records, LARGE, target, Schedule("kernel", {"of": "another version"}), 1e-9)
        add(records, LARGE, on_one, some(LARGE, on_one, 1)[0], 1e-9)
        found = candidates(LARGE, 2, target, records, SPACE_OF)
    space = backends.space("kernel", LARGE, target)
    assert [candidate.schedule for candidate in found[:4]] == offered[:4]
    assert found[-1] == Candidate(None, 2)
    assert {candidate.threads for candidate in found} == {2}, "a large layer keeps all threads"
    rest = {space.algorithm(candidate.schedule) for candidate in found[4:-1] if candidate.schedule}
    assert not rest & {space.algorithm(schedule) for schedule in offered[:4]}


def test_a_small_layer_may_run_on_one_thread_and_on_all(target: Target, tmp_path: Path) -> None:
    on_one = dataclasses.replace(target, num_cores=1)
    (one,), (two,) = some(CONVOLUTION, on_one, 1), some(CONVOLUTION, target, 1)
    with Records(tmp_path / "r.sqlite") as records:
        add(records, CONVOLUTION, on_one, one, 1.0)
        add(records, CONVOLUTION, target, two, 1.0)
        found = candidates(CONVOLUTION, 1, target, records, SPACE_OF)
        assert found == [Candidate(one, 1), Candidate(None, 1), Candidate(two, 2), Candidate(None, 2)]
        assert candidates(CONVOLUTION, 1, on_one, records, SPACE_OF) == found[:2]


def test_each_algorithm_is_represented(target: Target) -> None:
    space = backends.space("kernel", LARGE, target)
    direct = space.default().replace(algorithm="direct") if space.decisions else None
    if direct is None or len(space.decisions[0].choices) < 3:
        pytest.skip("this CPU's kernels have one algorithm")
    made = [
        Record(LARGE, target, direct.replace(algorithm=algorithm, rows=rows), Measurement((secs,)))
        for algorithm, rows, secs in [
            ("winograd4", 1, 1.0),
            ("winograd4", 2, 2.0),
            ("winograd4", 3, 3.0),
            ("winograd2", 1, 5.0),
            ("direct", 1, 9.0),
            ("direct", 2, 8.0),
        ]
    ]
    found = best_of_each(space, made, few=2)
    assert [(s.values["algorithm"], s.values["rows"]) for s in found] == [
        ("winograd4", 1),
        ("winograd4", 2),
        ("winograd2", 1),
        ("direct", 2),
    ]


def test_without_fast_algorithms_all_candidates_are_direct(target: Target, tmp_path: Path) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        for place, schedule in enumerate(some(LARGE, target, 6)):
            add(records, LARGE, target, schedule, 1.0 + place)
        space = backends.space("kernel", LARGE, target)
        found = candidates(LARGE, 2, target, records, partial(SPACE_OF, fast_algorithms=False))
    assert {space.algorithm(candidate.schedule) for candidate in found if candidate.schedule} <= {"direct"}


def test_a_candidate_changes_schedule_and_threads_of_a_layer() -> None:
    layer = dense_layer("a", Workload.dense(1, 2, 3), threads=2)
    changed = Candidate(Schedule("kernel", {"mr": 1}), 1).of(layer)
    assert changed == dataclasses.replace(layer, schedule=Schedule("kernel", {"mr": 1}), threads=1)
