"""Tuned schedules: stored ones, and the number of trials that a search would still make."""

from __future__ import annotations

from pathlib import Path

import kernels
from benchmarks.layers.schedules import missing_trials, tuned_schedule
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

WORKLOAD = Workload.dense(4, 64, 32)
OTHER = Workload.dense(5, 64, 32)


def store(path: Path, *secs: float) -> None:
    target = Target.from_host(num_cores=1)
    values = kernels.default_dense_schedule(4, 64, 32, target.isa)
    with Records(path) as records:
        for each in secs:
            records.add(Record(WORKLOAD, target, Schedule("kernel", {**values, "prefetch": 0}), Measurement((each,))))


def test_without_a_search_only_stored_schedules_are_tuned(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    store(path, 0.001)
    found = tuned_schedule(WORKLOAD, 1, path, trials=0)
    assert found is not None
    assert found.values["prefetch"] == 0
    assert tuned_schedule(OTHER, 1, path, trials=0) is None
    assert tuned_schedule(Workload("softmax", (4, 8)), 1, path, trials=3) is None


def test_the_search_makes_the_trials_that_are_missing(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite"
    assert missing_trials(WORKLOAD, 1, path, 5) == 5
    assert not path.exists()
    store(path, 0.001, 0.002)
    assert missing_trials(WORKLOAD, 1, path, 5) == 3
    assert missing_trials(OTHER, 1, path, 5) == 5
    assert missing_trials(WORKLOAD, 1, path, 1) == 0
    assert missing_trials(WORKLOAD, 1, path, 0) == 0
    assert missing_trials(Workload("softmax", (4, 8)), 1, path, 5) == 0
