"""The tuner's loop, with formulas in place of measurements; and once in earnest."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autotune
from autotune import backends as spaces
from autotune.searches import tuning
from compiler.workloads.records import Measurement, Record, Records
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload
from tests.autotune.synthetic import TARGET, WORKLOAD, SyntheticSpace, TinySpace, every


class FormulaMeasurer:
    """Measures by a space's formula; what ``failing`` holds of fails."""

    def __init__(self, space: SyntheticSpace) -> None:
        self.space = space
        self.measured: list[Schedule] = []
        self.failing: set[Schedule] = set()

    def __call__(self, *_: Any, **__: Any) -> FormulaMeasurer:
        return self

    def __enter__(self) -> FormulaMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def measure_each(self, schedules: Sequence[Schedule]) -> Iterator[Measurement]:
        for schedule in schedules:
            self.measured.append(schedule)
            failed = schedule in self.failing
            yield Measurement((), "wrong answer") if failed else Measurement((self.space.secs(schedule),))


@pytest.fixture
def measurer(monkeypatch: pytest.MonkeyPatch) -> FormulaMeasurer:
    return use(monkeypatch, SyntheticSpace())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> FormulaMeasurer:
    return use(monkeypatch, TinySpace())


def use(monkeypatch: pytest.MonkeyPatch, space: SyntheticSpace) -> FormulaMeasurer:
    measurer = FormulaMeasurer(space)
    monkeypatch.setattr(tuning, "Measurer", measurer)
    monkeypatch.setattr(spaces, "space", lambda *_: space)
    return measurer


def tune(strategy: str = "evolutionary", **options: Any) -> autotune.TuneResult:
    return autotune.tune(WORKLOAD, TARGET, "synthetic", strategy, **options)


@pytest.mark.parametrize("strategy", ["rl", "evolutionary", "random"])
def test_result_is_what_was_measured(measurer: FormulaMeasurer, strategy: str) -> None:
    result = tune(strategy, trials=24)
    secs = [measurer.space.secs(s) for s in measurer.measured[:24]]
    assert (result.trials, result.failures) == (24, 0)
    assert list(result.history) == [min(secs[: i + 1]) for i in range(24)]
    assert result.best.measurement.median_secs == min(secs)
    assert measurer.space.secs(result.best.schedule) == min(secs)
    assert (result.best.strategy, result.best.seed) == (strategy, 0)
    assert result.search_secs > 0


def test_a_lucky_reading_does_not_win(measurer: FormulaMeasurer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One schedule reads ten times too fast, once: the others are what they are."""
    lucky = measurer.space.random(np.random.default_rng(3))
    honest_secs = measurer.space.secs
    readings: Counter[Schedule] = Counter()

    def secs(schedule: Schedule) -> float:
        readings[schedule] += 1
        return honest_secs(schedule) / (10 if schedule == lucky and readings[schedule] == 1 else 1)

    monkeypatch.setattr(measurer.space, "secs", secs)
    monkeypatch.setattr(measurer.space, "default", lambda: lucky)
    result = tune(trials=64)
    assert result.history[-1] == honest_secs(lucky) / 10
    assert result.best.schedule != lucky
    assert len(result.best.measurement.run_secs) == readings[result.best.schedule] > 1


def test_same_seed_same_search(measurer: FormulaMeasurer) -> None:
    searches = []
    for seed in (7, 7, 8):
        tune(trials=24, seed=seed)
        searches.append(measurer.measured[:])
        measurer.measured.clear()
    first, again, other = searches
    assert first == again
    assert first != other


def test_each_trial_is_kept_before_it_is_told(measurer: FormulaMeasurer, tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    kept = []

    def on_trial(record: Record) -> None:
        with Records(path) as records:
            kept.append(records.query()[-1] == record)

    tune(trials=10, records=path, on_trial=on_trial)
    assert kept == [True] * 10
    assert [record.schedule for record in Records(path).query()] == measurer.measured


def test_goes_on_from_earlier_records(measurer: FormulaMeasurer, tmp_path: Path) -> None:
    first = tune(trials=24, records=tmp_path / "r.sqlite")
    second = tune(trials=24, records=tmp_path / "r.sqlite", seed=1)
    assert len(set(measurer.measured)) == 48  # what is measured again at the end is no other schedule
    assert second.trials == 24
    assert second.history[0] <= first.history[-1]
    assert second.best.measurement.median_secs == min(map(measurer.space.secs, measurer.measured))
    with Records(tmp_path / "r.sqlite") as records:
        assert records.best(WORKLOAD, TARGET) == second.best


def test_an_open_records_file_stays_open(measurer: FormulaMeasurer, tmp_path: Path) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        tune(trials=4, records=records)
        assert len(records.query()) == len(measurer.measured) == 4


def test_schedules_that_the_space_no_longer_has_do_not_count(tiny: FormulaMeasurer, tmp_path: Path) -> None:
    illegal = tiny.space.default().replace(a=2)
    foreign = Schedule("synthetic", {"other": 1})
    with Records(tmp_path / "r.sqlite") as records:
        for schedule in (illegal, foreign):
            records.add(Record(WORKLOAD, TARGET, schedule, Measurement((1e-9,))))
        result = tune(trials=99, records=records)
    assert result.best.measurement.median_secs == 1e-3
    assert result.trials == 10


def test_other_workloads_records_do_not_count(tiny: FormulaMeasurer, tmp_path: Path) -> None:
    other = Workload.dense(1, 2, 3)
    with Records(tmp_path / "r.sqlite") as records:
        for schedule in every(tiny.space):
            records.add(Record(other, TARGET, schedule, Measurement((1e-9,))))
        result = tune(trials=99, records=records)
    assert result.trials == 10
    assert result.best.workload == WORKLOAD


def test_a_space_that_is_used_up_ends_the_search(tiny: FormulaMeasurer, tmp_path: Path) -> None:
    assert tune(trials=64, records=tmp_path / "r.sqlite").trials == 10
    again = tune(trials=64, records=tmp_path / "r.sqlite")
    assert (again.trials, again.history) == (0, ())
    assert again.best.measurement.median_secs == 1e-3
    assert len(tiny.measured) == 10


def test_failures_are_counted_and_kept(tiny: FormulaMeasurer, tmp_path: Path) -> None:
    default = tiny.space.default()
    tiny.failing = {default}
    result = tune(trials=10, records=tmp_path / "r.sqlite")
    assert (result.trials, result.failures) == (10, 1)
    assert result.history[0] == math.inf  # the default is the first trial
    assert result.history[-1] == result.best.measurement.median_secs
    with Records(tmp_path / "r.sqlite") as records:
        assert [r.schedule for r in records.query() if not r.measurement.ok] == [default]


@pytest.mark.parametrize("strategy", ["rl", "evolutionary", "random"])
def test_all_failing_gives_the_most_frequent_reason(measurer: FormulaMeasurer, strategy: str) -> None:
    measurer.failing = set(every(measurer.space))
    with pytest.raises(RuntimeError, match=r"all 20 trials of dense 512x512x512.* failed; 20 times: wrong answer"):
        tune(strategy, trials=20)


def test_an_earlier_success_outlives_failures(tiny: FormulaMeasurer, tmp_path: Path) -> None:
    tiny.failing = set(every(tiny.space))
    earlier = tiny.space.record(tiny.space.default())
    with Records(tmp_path / "r.sqlite") as records:
        records.add(earlier)
        result = tune(trials=4, records=records)
    assert (result.best, result.failures) == (earlier, 4)
    assert result.history == (1e-3,) * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"trials": -3}, "trials must be at least 1, got -3"),
        ({"strategy": "annealing"}, "unknown strategy 'annealing'; choose from: rl, evolutionary, random"),
        ({"backend": "cuda"}, "unknown backend 'cuda'; choose from: kernel, tvm"),
        ({"target": "riscv"}, "unknown arch 'riscv'; choose from: host, avx512"),
        ({"threads": 0}, "threads must be between 1 and"),
        ({"records": "/no/such/directory/r.sqlite"}, "there is no directory"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        autotune.tune(WORKLOAD, **options)
    assert "\n" not in str(raised.value)


def test_tunes_in_earnest(tmp_path: Path) -> None:
    workload = Workload.dense(17, 33, 65, epilogue=("bias", "relu"))
    result = autotune.tune(workload, strategy="evolutionary", trials=12, records=tmp_path / "r.sqlite")
    assert result.failures == 0
    assert 0 < result.best.measurement.median_secs < 1
    with Records(tmp_path / "r.sqlite") as records:
        assert len(records.query(workload)) == result.trials


def test_importing_it_loads_nothing_heavy() -> None:
    code = "import sys, autotune; print({'torch', 'tvm', 'xgboost', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
