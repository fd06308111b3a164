"""Winners of searches in a records file: they decide what ``best`` returns; a file without them works as before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.compiler.workloads.old_files import file_of_version

WORKLOAD = Workload.dense(4, 5, 6)
TARGET = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=1)
DEFAULT, LUCKY = Schedule("kernel", {"mr": 4}), Schedule("kernel", {"mr": 8})


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """The default was read twice; another schedule has one faster reading, and one that is as fast as the default."""
    with Records(tmp_path / "r.sqlite") as records:
        for schedule, secs in [(DEFAULT, 2.0), (LUCKY, 1.0), (DEFAULT, 2.0), (LUCKY, 2.0)]:
            records.add(Record(WORKLOAD, TARGET, schedule, Measurement((secs,))))
        yield records


def best(records: Records, backend: str | None = None) -> Schedule | None:
    found = records.best(WORKLOAD, TARGET, backend)
    return found.schedule if found else None


def test_without_a_winner_the_fastest_is_the_best(records: Records) -> None:
    assert records.winner(WORKLOAD, TARGET, "kernel") is None
    assert best(records) == best(records, "kernel") == records(WORKLOAD, TARGET) == LUCKY


def test_a_winner_is_the_best_with_all_of_its_samples(records: Records) -> None:
    records.set_winner(WORKLOAD, TARGET, DEFAULT)
    assert records.winner(WORKLOAD, TARGET, "kernel") == DEFAULT
    assert best(records) == best(records, "kernel") == records(WORKLOAD, TARGET) == DEFAULT
    found = records.best(WORKLOAD, TARGET)
    assert found
    assert found.measurement.run_secs == (2.0, 2.0)


def test_the_latest_winner_counts(records: Records) -> None:
    records.set_winner(WORKLOAD, TARGET, DEFAULT)
    records.set_winner(WORKLOAD, TARGET, LUCKY)
    assert best(records) == LUCKY


def test_later_measurements_do_not_change_the_winner(records: Records) -> None:
    records.set_winner(WORKLOAD, TARGET, DEFAULT)
    for secs in (1e-3, 1e-3):
        records.add(Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": 1}), Measurement((secs,))))
    assert best(records) == DEFAULT


def test_a_winner_belongs_to_its_workload_target_and_backend(records: Records) -> None:
    other, two = Workload.dense(1, 2, 3), replace(TARGET, num_cores=2)
    for workload, target in ((other, TARGET), (WORKLOAD, two)):
        records.add(Record(workload, target, DEFAULT, Measurement((2.0,))))
        records.set_winner(workload, target, DEFAULT)
        assert records.winner(workload, target, "tvm") is None
    assert best(records) == LUCKY
    generated = Schedule("tvm", {"tile": 8})
    for secs in (1.8, 1.8):
        records.add(Record(WORKLOAD, TARGET, generated, Measurement((secs,))))
    records.set_winner(WORKLOAD, TARGET, DEFAULT)
    assert best(records, "kernel") == DEFAULT
    assert best(records) == best(records, "tvm") == generated, "of two backends, the faster best"


def test_only_what_succeeded_can_win(records: Records) -> None:
    failed = Schedule("kernel", {"mr": 3})
    records.add(Record(WORKLOAD, TARGET, failed, Measurement((), "crash")))
    for schedule in (failed, Schedule("kernel", {"mr": 5})):
        with pytest.raises(ValueError, match="has no successful measurement"):
            records.set_winner(WORKLOAD, TARGET, schedule)
    assert best(records) == LUCKY


def test_a_file_of_the_second_version_has_no_winners(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with file_of_version(path, 2):
        pass
    with Records(path) as records:
        records.add(Record(WORKLOAD, TARGET, LUCKY, Measurement((1.0,))))
        assert best(records) == LUCKY
        records.set_winner(WORKLOAD, TARGET, LUCKY)
        assert records.winner(WORKLOAD, TARGET, "kernel") == LUCKY


@pytest.mark.parametrize("cell", ["", "[]", '{"mr":1.5}', b"\xff", "[" * 100_000])
def test_a_winner_that_does_not_parse_is_named(records: Records, cell: object) -> None:
    records.set_winner(WORKLOAD, TARGET, DEFAULT)
    records._connection.execute("UPDATE winner SET schedule = ?", (cell,))
    with pytest.raises(ValueError, match=r"the winner of dense .* on kernel does not parse: ") as caught:
        records.winner(WORKLOAD, TARGET, "kernel")
    assert "\n" not in str(caught.value)
