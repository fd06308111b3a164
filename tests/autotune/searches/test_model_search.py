"""The search of a model's layers, with a formula in place of measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from autotune import backends
from autotune.searches.model_search import ModelSearch, TaskState
from autotune.searches.model_tasks import Task
from compiler.workloads.database import Records
from compiler.workloads.records import Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from tests.autotune.fake_runner import FakeRunner, noisy
from tests.autotune.tiny_model import CLASSIFIER, CONVOLUTION

SPACE_OF = partial(backends.space, "kernel")


@pytest.fixture(scope="module")
def target() -> Target:
    return Target.from_host(num_cores=1)


@pytest.fixture
def tasks(target: Target) -> list[Task]:
    return [Task(CONVOLUTION, target, ("c0", "c1")), Task(CLASSIFIER, target, ("y",))]


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records(tmp_path / "r.sqlite") as records:
        yield records


def formula(target: Target, default: float = 1e-3, other: float = 0.5e-3) -> Callable[[Schedule], float]:
    """The defaults of both workloads take ``default`` seconds, all other schedules ``other``."""
    defaults = {SPACE_OF(workload, target).default() for workload in (CONVOLUTION, CLASSIFIER)}
    return lambda schedule: default if schedule in defaults else other


def test_every_trial_is_stored_and_goes_to_some_task(tasks: list[Task], target: Target, records: Records) -> None:
    reported: list[Record] = []
    turns: list[TaskState] = []
    runner = FakeRunner(formula(target))
    search = ModelSearch(tasks, records, runner, SPACE_OF, "random", on_trial=reported.append)
    search.measure_defaults()
    defaults = records.query()
    assert reported == defaults
    assert [(r.workload, r.schedule) for r in defaults] == [
        (task.workload, SPACE_OF(task.workload, target).default()) for task in tasks
    ]
    assert [s.default_secs for s in search.states] == [r.measurement.median_secs for r in defaults]
    search.search(12, turns.append)
    convolutions, classifier = search.states
    assert sum(state.trials for state in search.states) == len(reported) - 2 == 12
    assert turns[0] is max(search.states, key=lambda state: state.default_total)
    assert convolutions.default_total == 2 * convolutions.default_secs
    assert classifier.default_total == classifier.default_secs
    for state in search.states:
        known = records.query(state.task.workload)
        assert state.best == records.best(state.task.workload, target)
        assert state.best_secs == state.best.measurement.median_secs <= state.default_secs
        assert len({r.schedule for r in known}) == 1 + state.trials
        if state.trials:
            default = state.space.default()
            assert state.best.schedule != default, "the others are twice as fast"
            assert records.winner(state.task.workload, target, "kernel") == state.best.schedule
            assert len([r for r in known if r.schedule == default]) > 1, "the default is measured again, too"


def test_among_equally_fast_schedules_the_defaults_stay(tasks: list[Task], target: Target, records: Records) -> None:
    runner = FakeRunner(noisy(formula(target, other=1e-3), seed=0))
    search = ModelSearch(tasks, records, runner, SPACE_OF, "random")
    search.measure_defaults()
    search.search(16)
    for state in search.states:
        assert state.best.schedule == state.space.default()
        assert state.best_secs == state.default_secs
        assert state.best == records.best(state.task.workload, target)


def test_a_task_without_trials_has_the_winner_of_an_earlier_search(
    tasks: list[Task], target: Target, records: Records
) -> None:
    for other in (0.5e-3, 0.1e-3):
        search = ModelSearch(tasks[:1], records, FakeRunner(formula(target, other=other)), SPACE_OF, "random")
        search.measure_defaults()
        winner = search.states[0].best.schedule
        if other == 0.5e-3:
            search.search(6)
            winner = records.winner(CONVOLUTION, target, "kernel")
        assert search.states[0].best.schedule == winner


def test_a_second_search_measures_nothing_twice(tasks: list[Task], target: Target, records: Records) -> None:
    schedules = []
    for seed in (0, 1):
        reported: list[Record] = []
        runner = FakeRunner(formula(target))
        search = ModelSearch(tasks[:1], records, runner, SPACE_OF, "random", seed, on_trial=reported.append)
        search.measure_defaults()
        search.search(6)
        schedules += [record.schedule for record in reported]
    assert len(schedules) == 1 + 6 + 6
    assert len(set(schedules)) == len(schedules)


def test_without_fast_algorithms_only_direct_schedules_count(
    tasks: list[Task], target: Target, records: Records
) -> None:
    for fast_algorithms in (True, False):
        search = ModelSearch(
            tasks[:1],
            records,
            FakeRunner(formula(target)),
            partial(SPACE_OF, fast_algorithms=fast_algorithms),
            "random",
            fast_algorithms=fast_algorithms,
        )
        search.measure_defaults()
        search.search(4)
        (state,) = search.states
    assert state.best.schedule.values.get("algorithm", "direct") == "direct"


def test_a_default_that_fails_ends_the_search(tasks: list[Task], target: Target, records: Records) -> None:
    runner = FakeRunner(formula(target))
    runner.failing = {SPACE_OF(CONVOLUTION, target).default()}
    with pytest.raises(RuntimeError, match=r"the default schedule of conv2d .* failed: wrong answer"):
        ModelSearch(tasks, records, runner, SPACE_OF).measure_defaults()
    assert [record.measurement.ok for record in records.query()] == [False]
