"""Records name the machine models that chose the measured default schedules; earlier files go on working."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from compiler.workloads.database import SCHEMA_VERSION, Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from kernels import MachineModel
from tests.compiler.workloads.old_files import file_of_version
from tests.kernels.machine_models import with_lines

WORKLOAD = Workload.dense(4, 5, 6)
ONE, OTHER = with_lines({"ghz": "1.25"}), with_lines({"ghz": "1.5"})
TARGET = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), 1, machine=ONE)
FIRST, SECOND = Schedule("kernel", {"mr": 4}), Schedule("kernel", {"mr": 8})


def test_the_defaults_of_each_machine(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    with Records(path) as records:
        assert records.defaults(WORKLOAD, TARGET, "kernel") == {}
        records.set_default(WORKLOAD, TARGET, SECOND)
        records.set_default(WORKLOAD, TARGET, FIRST)  # a later version of this library chooses another one
        records.set_default(WORKLOAD, replace(TARGET, machine=OTHER), SECOND)
        records.set_default(WORKLOAD, replace(TARGET, machine=None), SECOND)
    with Records(path) as records:
        found = records.defaults(WORKLOAD, TARGET, "kernel")
        assert found == {ONE.id: FIRST, OTHER.id: SECOND, MachineModel.host().id: SECOND}
        assert records.defaults(WORKLOAD, TARGET, "tvm") == {}
        assert records.defaults(WORKLOAD, replace(TARGET, num_cores=2), "kernel") == {}
        assert records.defaults(Workload.dense(4, 5, 7), TARGET, "kernel") == {}


def test_machines_do_not_change_what_is_best(tmp_path: Path) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        for schedule, secs in ((FIRST, 2.0), (SECOND, 1.0)):
            records.add(Record(WORKLOAD, TARGET, schedule, Measurement((secs,))))
        records.set_default(WORKLOAD, TARGET, FIRST)
        assert records(WORKLOAD, TARGET) == records(WORKLOAD, replace(TARGET, machine=OTHER)) == SECOND


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
def test_files_of_earlier_versions(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.sqlite"
    with file_of_version(path, version):
        pass
    with Records(path) as records:
        assert records.defaults(WORKLOAD, TARGET, "kernel") == {}
        records.set_default(WORKLOAD, TARGET, FIRST)
        assert records.defaults(WORKLOAD, TARGET, "kernel") == {ONE.id: FIRST}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)


@pytest.mark.parametrize("values", ["[]", "{", '{"mr":1.5}', b"\xff"])
def test_a_default_that_does_not_parse(tmp_path: Path, values: str | bytes) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        records.set_default(WORKLOAD, TARGET, FIRST)
        records._connection.execute("UPDATE machine SET schedule = ?", (values,))
        with pytest.raises(ValueError, match=r"a default of .* does not parse") as raised:
            records.defaults(WORKLOAD, TARGET, "kernel")
        assert "\n" not in str(raised.value)
