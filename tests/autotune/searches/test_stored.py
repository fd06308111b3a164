"""Stored records as a search sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.searches.stored import best_of, offers, winner_in
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from tests.autotune.synthetic import TARGET, WORKLOAD, TinySpace

SPACE = TinySpace()
DEFAULT, FAST = SPACE.default(), SPACE.default().replace(c="y")
ILLEGAL, FOREIGN = SPACE.default().replace(a=2), Schedule("synthetic", {"other": 1})


def record(schedule: Schedule, secs: float) -> Record:
    return Record(WORKLOAD, TARGET, schedule, Measurement((secs,)))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [(DEFAULT, True), (ILLEGAL, False), (FOREIGN, False), (Schedule("kernel", DEFAULT.values), False)],
)
def test_a_space_offers_its_legal_schedules(schedule: Schedule, expected: bool) -> None:
    assert offers(SPACE, schedule) == expected


def test_the_best_is_the_winner_or_the_fastest() -> None:
    records = [record(DEFAULT, 2.0), record(FAST, 1.0), record(DEFAULT, 4.0)]
    unconfirmed, best = best_of(records[:2], None), best_of(records, DEFAULT)
    assert unconfirmed == records[1]
    assert best
    assert (best.schedule, best.measurement.run_secs) == (DEFAULT, (2.0, 4.0))
    assert best_of([], None) is None


@pytest.mark.parametrize(("winner", "expected"), [(FAST, FAST), (ILLEGAL, None), (FOREIGN, None)])
def test_a_winner_counts_if_the_space_has_it(winner: Schedule, expected: Schedule | None, tmp_path: Path) -> None:
    assert winner_in(SPACE, None) is None
    with Records(tmp_path / "r.sqlite") as records:
        assert winner_in(SPACE, records) is None
        records.add(record(winner, 1.0))
        records.set_winner(WORKLOAD, TARGET, winner)
        assert winner_in(SPACE, records) == expected
