"""Rows of records files of earlier versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.workloads.database import Records
from compiler.workloads.records import canonical, target_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.compiler.workloads.old_files import file_of_version

WORKLOAD = Workload.dense(4, 5, 6)
TARGET = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=6)
KEY = target_key(TARGET)
OTHERS = {"mr": 8, "order": "m_inner"}
VALUES = OTHERS | {"threads_m": 2}


def file_of_version_4(path: Path, values: str | bytes, threads: Any = 4, target: str | bytes = KEY) -> None:
    workload = canonical(WORKLOAD.to_json())
    with file_of_version(path, 4) as connection:
        connection.execute(
            "INSERT INTO measurement (workload, target, backend, schedule, run_secs, median_secs, unix_secs) "
            "VALUES (?, ?, 'kernel', ?, '[1.0]', 1.0, 0.0)",
            (workload, target, values),
        )
        connection.execute("INSERT INTO winner VALUES (?, ?, 'kernel', ?, 0.0)", (workload, target, values))
        connection.execute("INSERT INTO machine VALUES (?, ?, 'kernel', ?, 'one', 0.0)", (workload, target, values))
        connection.execute("INSERT INTO choice VALUES ('model', ?, ?, ?, ?, 0.0)", (target, workload, values, threads))


def schedules(path: Path) -> list[Any]:
    with Records(path) as records:
        rows = [
            records._connection.execute(f"SELECT schedule FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("measurement", "winner", "machine", "choice")
        ]
    return [row.decode(errors="replace") if isinstance(row, bytes) else row for row in rows]


def test_schedules_get_the_parts_of_columns(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    file_of_version_4(path, canonical(VALUES))
    of_target, of_model = (Schedule("kernel", OTHERS | {"threads": (2, n)}) for n in (3, 2))
    for _ in range(2):
        assert schedules(path) == [canonical(dict(s.values)) for s in (of_target, of_target, of_target, of_model)]
        with Records(path) as records:
            (found,) = records.query()
            assert found.schedule == records.winner(WORKLOAD, TARGET, "kernel") == of_target
            assert records(WORKLOAD, TARGET) == of_target
            assert records.defaults(WORKLOAD, TARGET, "kernel") == {"one": of_target}
            assert records.chosen("model", TARGET)[WORKLOAD].schedule == of_model


@pytest.mark.parametrize(
    "values",
    [
        '{"mr":8}',
        '{"threads_m":0}',
        '{"threads_m":"2"}',
        '{"threads_m":2.5}',
        '{"threads":[1,7],"threads_m":1}',
        "[]",
        "7",
        "{",
        "[" * 100_000,
        b"\xff",
    ],
)
def test_other_schedules_stay_as_they_are(tmp_path: Path, values: str | bytes) -> None:
    path = tmp_path / "r.sqlite"
    file_of_version_4(path, values)
    text = values.decode(errors="replace") if isinstance(values, bytes) else values
    assert schedules(path) == [text] * 4


@pytest.mark.parametrize("target", ["", "{}", '{"num_cores":"six"}', '{"num_cores":1e400}', b"\xff"])
def test_targets_that_do_not_parse(tmp_path: Path, target: str | bytes) -> None:
    path = tmp_path / "r.sqlite"
    file_of_version_4(path, canonical(VALUES), "four", target)
    assert schedules(path) == [canonical(VALUES)] * 4
