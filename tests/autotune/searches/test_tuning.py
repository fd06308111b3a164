"""The search of one workload, with formulas in place of measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from autotune.searches.tuning import (
    TuneResult,
    WorkloadSearch,
    confirmed,
    finalists_of,
    search_workload,
)
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Decision, Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.autotune.fake_runner import FakeRunner, noisy
from tests.autotune.synthetic import TARGET, WORKLOAD, EmptySpace, SyntheticSpace, TinySpace, every

SPACE, TINY = SyntheticSpace(), TinySpace()


@pytest.fixture
def runner() -> FakeRunner:
    return FakeRunner(SPACE.secs)


@pytest.fixture
def tiny() -> FakeRunner:
    return FakeRunner(TINY.secs)


def search(
    runner: FakeRunner,
    space: SyntheticSpace = SPACE,
    strategy: str = "evolutionary",
    trials: int = 64,
    seed: int = 0,
    path: Path | None = None,
    on_trial: Callable[[Record], None] | None = None,
) -> TuneResult:
    if path is None:
        return search_workload(space, runner, strategy, trials, seed, None, on_trial)
    with Records(path) as records:
        return search_workload(space, runner, strategy, trials, seed, records, on_trial)


@pytest.mark.parametrize("strategy", ["rl", "evolutionary", "random"])
def test_result_is_what_was_measured(runner: FakeRunner, strategy: str) -> None:
    result = search(runner, strategy=strategy, trials=24)
    secs = [SPACE.secs(s) for s in runner.measured[:24]]
    assert (result.trials, result.failures) == (24, 0)
    assert list(result.history) == [min(secs[: i + 1]) for i in range(24)]
    assert result.best.measurement.median_secs == min(secs)
    assert SPACE.secs(result.best.schedule) == min(secs)
    assert (result.best.strategy, result.best.seed) == (strategy, 0)
    assert result.search_secs > 0
    assert runner.prepared == [WORKLOAD]
    assert not runner.closed, "the runner belongs to the caller"


def test_same_seed_same_search() -> None:
    searches = []
    for seed in (7, 7, 8):
        runner = FakeRunner(SPACE.secs)
        search(runner, trials=24, seed=seed)
        searches.append(runner.measured)
    first, again, other = searches
    assert first == again
    assert first != other


def test_each_trial_is_stored_before_it_is_reported(runner: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    stored = []

    def on_trial(record: Record) -> None:
        with Records(path) as records:
            stored.append(records.query()[-1] == record)

    search(runner, trials=10, path=path, on_trial=on_trial)
    assert stored == [True] * 10
    assert [record.schedule for record in Records(path).query()] == runner.measured


def test_a_search_continues_from_earlier_records(runner: FakeRunner, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    first = search(runner, trials=24, path=path)
    second = search(runner, trials=24, path=path, seed=1)
    assert len(set(runner.measured)) == 48  # the readings at the end are of no other schedules
    assert second.trials == 24
    assert second.history[0] <= first.history[-1]
    assert second.best.measurement.median_secs == min(map(SPACE.secs, runner.measured))
    with Records(path) as records:
        assert records.best(WORKLOAD, TARGET) == second.best


def test_schedules_that_the_space_no_longer_has_do_not_count(tiny: FakeRunner, tmp_path: Path) -> None:
    illegal = TINY.default().replace(a=2)
    foreign = Schedule("synthetic", {"other": 1})
    with Records(tmp_path / "r.sqlite") as records:
        for schedule in (illegal, foreign):
            records.add(Record(WORKLOAD, TARGET, schedule, Measurement((1e-9,))))
    result = search(tiny, TINY, trials=99, path=tmp_path / "r.sqlite")
    assert result.best.measurement.median_secs == 1e-3
    assert result.trials == 10


def test_other_workloads_records_do_not_count(tiny: FakeRunner, tmp_path: Path) -> None:
    other = Workload.dense(1, 2, 3)
    with Records(tmp_path / "r.sqlite") as records:
        for schedule in every(TINY):
            records.add(Record(other, TARGET, schedule, Measurement((1e-9,))))
    result = search(tiny, TINY, trials=99, path=tmp_path / "r.sqlite")
    assert result.trials == 10
    assert result.best.workload == WORKLOAD


def test_an_exhausted_space_ends_the_search(tiny: FakeRunner, tmp_path: Path) -> None:
    assert search(tiny, TINY, path=tmp_path / "r.sqlite").trials == 10
    again = search(tiny, TINY, path=tmp_path / "r.sqlite")
    assert (again.trials, again.history) == (0, ())
    assert again.best.measurement.median_secs == 1e-3
    assert set(tiny.measured) == set(every(TINY))


def test_a_space_of_one_schedule_has_its_default(tmp_path: Path) -> None:
    space = EmptySpace()
    runner = FakeRunner(space.secs)
    assert search(runner, space, path=tmp_path / "r.sqlite").best.schedule == space.default()
    assert runner.measured == [space.default()], "there is nothing to compare it with"
    with Records(tmp_path / "r.sqlite") as records:
        assert records.winner(WORKLOAD, TARGET, "synthetic") == space.default()


def test_failures_are_counted_and_stored(tiny: FakeRunner, tmp_path: Path) -> None:
    failing = TINY.default().replace(c="y")
    tiny.failing = {failing}
    result = search(tiny, TINY, trials=10, path=tmp_path / "r.sqlite")
    assert (result.trials, result.failures) == (10, 1)
    with Records(tmp_path / "r.sqlite") as records:
        assert [r.schedule for r in records.query() if not r.measurement.ok] == [failing]


@pytest.mark.parametrize("strategy", ["rl", "evolutionary", "random"])
def test_if_all_fail_the_error_has_the_most_frequent_reason(runner: FakeRunner, strategy: str) -> None:
    runner.failing = set(every(SPACE))
    with pytest.raises(RuntimeError, match=r"all 20 trials of dense 512x512x512.* failed; 20 times: wrong answer"):
        search(runner, strategy=strategy, trials=20)


def test_an_earlier_success_outlives_failures(tiny: FakeRunner, tmp_path: Path) -> None:
    tiny.failing = set(every(TINY))
    earlier = TINY.record(TINY.default())
    with Records(tmp_path / "r.sqlite") as records:
        records.add(earlier)
    result = search(tiny, TINY, trials=4, path=tmp_path / "r.sqlite")
    assert (result.best, result.failures) == (earlier, 4)
    assert result.history == (1e-3,) * 4


@pytest.mark.parametrize(
    ("trials", "strategy", "message"),
    [
        (0, "rl", "trials must be at least 1, got 0"),
        (-3, "rl", "trials must be at least 1, got -3"),
        (4, "annealing", "unknown strategy 'annealing'; choose from: rl, evolutionary, random"),
    ],
)
def test_bad_arguments(runner: FakeRunner, trials: int, strategy: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(runner, strategy=strategy, trials=trials)
    assert runner.measured == []


# The winner.


def test_a_lucky_reading_does_not_win(tmp_path: Path) -> None:
    """One schedule is as fast as the default, but its first reading is ten times too fast."""
    lucky = SPACE.random(np.random.default_rng(3))
    readings: Counter[Schedule] = Counter()

    def secs(schedule: Schedule) -> float:
        readings[schedule] += 1
        return 1e-4 if schedule == lucky and readings[schedule] == 1 else 1e-3

    with Records(tmp_path / "r.sqlite") as records:
        search_ = WorkloadSearch(SPACE, FakeRunner(secs), "random", records=records)
        search_.measure([SPACE.default(), lucky])
        search_.step(10)
        assert search_.best
        assert search_.best.schedule == lucky, "before the search is finished"
        search_.finish(2)
        assert search_.best.schedule == search_.winner == SPACE.default()
        assert records.best(WORKLOAD, TARGET) == search_.best
        assert records.best(WORKLOAD, TARGET, "synthetic") == search_.best
        assert records(WORKLOAD, TARGET) == SPACE.default()


def test_a_lucky_default_does_not_win() -> None:
    """The default reads ten times too fast, once."""
    readings: Counter[Schedule] = Counter()

    def secs(schedule: Schedule) -> float:
        readings[schedule] += 1
        lucky = schedule == SPACE.default() and readings[schedule] == 1
        return SPACE.secs(schedule) / (10 if lucky else 1)

    result = search(FakeRunner(secs), trials=64)
    assert result.history[-1] == SPACE.secs(SPACE.default()) / 10
    assert SPACE.secs(result.best.schedule) < SPACE.secs(SPACE.default())
    assert len(result.best.measurement.run_secs) == readings[result.best.schedule] > 1


@pytest.mark.parametrize("trials", [4, 64])
def test_a_schedule_that_is_faster_wins_despite_noise(trials: int, tmp_path: Path) -> None:
    def secs(schedule: Schedule) -> float:
        return 1e-3 if schedule == SPACE.default() else 0.9e-3

    for seed in range(10):
        path = tmp_path / f"{seed}.sqlite"
        result = search(FakeRunner(noisy(secs, seed)), strategy="random", trials=trials, seed=seed, path=path)
        assert result.best.schedule != SPACE.default()
        with Records(path) as records:
            assert records.winner(WORKLOAD, TARGET, "synthetic") == result.best.schedule
            assert records.best(WORKLOAD, TARGET) == result.best


def test_among_equally_fast_schedules_the_default_stays(tmp_path: Path) -> None:
    """A 95 % interval is wrong on one side in 1 of 40 cases; 4 of 20 have a probability of less than 1 in 500."""
    changed = 0
    for seed in range(20):
        path = tmp_path / f"{seed}.sqlite"
        result = search(FakeRunner(noisy(lambda _: 1e-3, seed)), strategy="random", trials=32, seed=seed, path=path)
        changed += result.best.schedule != SPACE.default()
        with Records(path) as records:
            assert records.best(WORKLOAD, TARGET) == result.best
    assert changed < 4


def test_the_default_is_measured_even_if_it_was_not_proposed(tmp_path: Path) -> None:
    runner = FakeRunner(lambda schedule: 0.5e-3 if schedule == SPACE.default() else 1e-3)
    result = search(runner, strategy="random", trials=4, path=tmp_path / "r.sqlite")
    assert SPACE.default() not in runner.measured[:4]
    assert result.best.schedule == SPACE.default()
    assert result.history == (1e-3,) * 4
    with Records(tmp_path / "r.sqlite") as records:
        assert records.best(WORKLOAD, TARGET) == result.best


@pytest.mark.parametrize("strategy", ["evolutionary", "random"])
def test_a_default_that_fails_does_not_win(tiny: FakeRunner, strategy: str) -> None:
    tiny.failing = {TINY.default()}
    result = search(tiny, TINY, strategy, trials=10)
    assert result.failures == 1
    assert result.best.schedule == TINY.default().replace(c="y")
    assert tiny.measured.count(TINY.default()) == 1, "a failure is not measured again"


def test_a_schedule_that_fails_later_does_not_win() -> None:
    fast = TINY.default().replace(c="y")
    readings: Counter[Schedule] = Counter()

    class Unsteady(FakeRunner):
        def measure(
            self, workload: Workload, target: Target, backend: str, schedules: Iterable[Schedule]
        ) -> Iterator[Measurement]:
            for schedule in schedules:
                readings[schedule] += 1
                self.failing = {fast} if readings[fast] > 1 else set()
                yield from super().measure(workload, target, backend, [schedule])

    result = search(Unsteady(lambda schedule: 0.5e-3 if schedule == fast else 1e-3), TINY, trials=10)
    assert result.best.schedule == TINY.default()


def test_a_resumed_search_decides_again(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    slow, fast = 1e-3, 0.8e-3
    first = search(FakeRunner(lambda s: fast if s != SPACE.default() else slow), trials=16, path=path)
    assert first.best.schedule != SPACE.default()
    # The default has become as fast, as after an update of the kernels.
    second = search(FakeRunner(lambda _: fast), trials=16, path=path, seed=1)
    with Records(path) as records:
        assert records.winner(WORKLOAD, TARGET, "synthetic") == second.best.schedule == SPACE.default()
        assert records.best(WORKLOAD, TARGET) == second.best


def test_the_earlier_winner_is_measured_again(tmp_path: Path) -> None:
    runner = FakeRunner(SPACE.secs)
    first = search(runner, trials=64, path=tmp_path / "r.sqlite")
    runner.measured.clear()
    search(runner, strategy="random", trials=4, path=tmp_path / "r.sqlite", seed=1)
    assert first.best.schedule in runner.measured[4:]


def test_an_unfinished_search_keeps_the_earlier_winner(tmp_path: Path) -> None:
    first = search(FakeRunner(SPACE.secs), trials=16, path=tmp_path / "r.sqlite")
    with Records(tmp_path / "r.sqlite") as records:
        second = WorkloadSearch(SPACE, FakeRunner(lambda _: 1e-9), "random", 1, records)
        second.step(4)
        assert second.best == first.best == records.best(WORKLOAD, TARGET)


def test_records_without_a_winner_count_as_before(tmp_path: Path) -> None:
    fast = SPACE.default().replace(prefetch=1)
    with Records(tmp_path / "r.sqlite") as records:
        for schedule in (SPACE.default(), fast, fast):
            records.add(Record(WORKLOAD, TARGET, schedule, Measurement((SPACE.secs(schedule),))))
        search_ = WorkloadSearch(SPACE, FakeRunner(SPACE.secs), "random", records=records)
        assert search_.winner is None
        assert search_.best == records.best(WORKLOAD, TARGET)
        assert search_.best
        assert search_.best.schedule == fast


class Algorithms(SyntheticSpace):
    """One decision, the algorithm; the last offered one is the fastest."""

    def __init__(self, *algorithms: str) -> None:
        self.decisions = (Decision("algorithm", algorithms),)

    def is_legal(self, schedule: Schedule) -> bool:
        return schedule.values["algorithm"] in self.decisions[0].choices

    def default(self) -> Schedule:
        return self.schedule((0,))

    def secs(self, schedule: Schedule) -> float:
        return {"direct": 3e-3, "unrolled": 2e-3, "winograd4": 1e-3}[str(schedule.values["algorithm"])]


def test_a_search_without_fast_algorithms_keeps_the_winner_of_one_with_them(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    entire, restricted = Algorithms("direct", "unrolled", "winograd4"), Algorithms("direct", "unrolled")
    for space, own, stored in [
        (restricted, "unrolled", "unrolled"),
        (entire, "winograd4", "winograd4"),
        (restricted, "unrolled", "winograd4"),
    ]:
        found = search(FakeRunner(space.secs), space, path=path)
        assert found.best.schedule.values["algorithm"] == own
        with Records(path) as records:
            best = records.best(WORKLOAD, TARGET)
        assert best
        assert best.schedule.values["algorithm"] == stored


def test_only_an_interval_above_one_confirms() -> None:
    def measurements(*secs: float) -> list[Measurement]:
        return [Measurement((value, 1.001 * value)) for value in secs]

    same = measurements(*[1.0, 1.1, 0.9] * 4)
    faster = measurements(*[0.9, 1.0, 0.8] * 4)
    assert confirmed(faster, same)
    assert not confirmed(same, same)
    assert not confirmed(same, faster)
    assert not confirmed(measurements(*[0.5] * 4, *[1.5] * 8), measurements(*[1.0] * 12))
    failed = [Measurement((), "crash")] * 12
    assert not confirmed(faster, failed)
    assert confirmed([*faster, *failed], [*same, *same]), "rounds with a failure do not count"


def test_longer_searches_measure_more_schedules_again() -> None:
    assert [finalists_of(trials) for trials in (0, 1, 31, 32, 64, 10_000)] == [1, 1, 1, 2, 4, 8]
