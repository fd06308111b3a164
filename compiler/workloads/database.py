"""Records: the results of all searches in one SQLite file, with one row per measurement, failures included.

The file is an SQLite 3 database in WAL mode. It is identified by ``PRAGMA application_id`` = ``APPLICATION_ID`` and
``PRAGMA user_version``, which is ``SCHEMA_VERSION`` after this program has opened it. Files of earlier versions are
upgraded: missing tables are added, and schedules get the decisions that they lack (``MIGRATIONS`` below). JSON is
canonical: keys sorted, no spaces, no NaN.

Only migrations change rows of the table ``measurement`` (``SCHEMA`` below). ``id`` is the order in which measurements
finished:

    workload     Workload.to_json()
    target       Target.to_json() without the fields that comparison ignores (measured peak and bandwidth)
    backend      the schedule's backend, as a separate column for queries
    schedule     values of the schedule's decisions: {"decision": choice}
    run_secs     raw samples in seconds per run: [0.0021, 0.0020]; [] for a failure
    error        the reason of a failure in one line; NULL for a success
    median_secs  median of run_secs, for the order of the index; NULL for a failure
    strategy     the strategy that proposed the schedule; NULL if unknown
    seed         the seed of the search; NULL if unknown
    unix_secs    when the measurement finished

The schedule that is fastest alone need not be the fastest next to the other layers of a model. The table ``choice``
(``CHOICES`` below, since version 2) holds the schedules with which an entire model is fastest, one row for each of its
workloads with a choice:

    model        :func:`model_key` of its workloads
    target       of the model, as above; its ``num_cores`` are the threads of the model
    workload     as above
    schedule     as above, of our kernels
    threads      the number of threads for layers of this workload, at most those of the model
    unix_secs    when it was chosen

The fastest of many readings is often a lucky one. So a search ends with interleaved runs of its fastest schedule and of
the default one, and the table ``winner`` (``WINNERS`` below, since version 3) holds the schedule that it settled on:
the default, unless the other one is faster with a confidence interval above 1. It has one row per workload, target and
backend, of the latest completed search:

    workload, target, backend, schedule    as in ``measurement``
    unix_secs                              when the search ended

A default schedule follows from a machine model, the costs of one CPU. The table ``machine`` (``MACHINES`` below, since
version 4) names the models whose default a search has measured. It has one row per workload, target, backend and model,
with the latest schedule:

    workload, target, backend, schedule    as in ``measurement``
    machine                                MachineModel.id
    unix_secs                              when the default was measured

Before version 5, schedules had ``threads_m`` in place of ``threads``: a divisor of the number of threads. Those that an
earlier program writes into a file that is already open elsewhere keep it, and searches leave them out.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from compiler.workloads.record_rows import checked_threads, one_line, parse_choice, parse_record, parse_schedule
from compiler.workloads.records import ModelChoice, Record, canonical, fastest, target_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

APPLICATION_ID = 0x4C4F4F50  # "LOOP"
SCHEMA = """CREATE TABLE measurement (
    id INTEGER PRIMARY KEY,
    workload TEXT NOT NULL,
    target TEXT NOT NULL,
    backend TEXT NOT NULL,
    schedule TEXT NOT NULL,
    run_secs TEXT NOT NULL,
    error TEXT,
    median_secs REAL,
    strategy TEXT,
    seed INTEGER,
    unix_secs REAL NOT NULL
)"""
INDEX = "CREATE INDEX fastest ON measurement (workload, target, median_secs, backend)"
CHOICES = """CREATE TABLE choice (
    model TEXT NOT NULL,
    target TEXT NOT NULL,
    workload TEXT NOT NULL,
    schedule TEXT NOT NULL,
    threads INTEGER NOT NULL,
    unix_secs REAL NOT NULL,
    PRIMARY KEY (model, target, workload)
)"""
WINNERS = """CREATE TABLE winner (
    workload TEXT NOT NULL,
    target TEXT NOT NULL,
    backend TEXT NOT NULL,
    schedule TEXT NOT NULL,
    unix_secs REAL NOT NULL,
    PRIMARY KEY (workload, target, backend)
)"""
MACHINES = """CREATE TABLE machine (
    workload TEXT NOT NULL,
    target TEXT NOT NULL,
    backend TEXT NOT NULL,
    schedule TEXT NOT NULL,
    machine TEXT NOT NULL,
    unix_secs REAL NOT NULL,
    PRIMARY KEY (workload, target, backend, machine)
)"""
# The tables and indices that each version added to the previous one.
ADDED = ((SCHEMA, INDEX), (CHOICES,), (WINNERS,), (MACHINES,), ())
SCHEMA_VERSION = len(ADDED)

COLUMNS = tuple(line.split()[0] for line in SCHEMA.splitlines()[1:-1])
BEST_ROWS = 16  # the number of fastest rows that are considered for the best schedule
BUSY_SECS = 30.0  # the longest wait for another process that writes

_CHOICE_COLUMNS = tuple(line.split()[0] for line in CHOICES.splitlines()[1:-2])
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM measurement"  # noqa: S608 - constants only
_INSERT = f"INSERT INTO measurement ({', '.join(COLUMNS[1:])}) VALUES ({', '.join('?' * len(COLUMNS[1:]))})"  # noqa: S608
_SELECT_CHOICES = f"SELECT {', '.join(_CHOICE_COLUMNS)} FROM choice WHERE model = ? AND target = ? ORDER BY workload"  # noqa: S608
_INSERT_CHOICE = f"INSERT INTO choice ({', '.join(_CHOICE_COLUMNS)}) VALUES ({', '.join('?' * len(_CHOICE_COLUMNS))})"  # noqa: S608
_INSERT_MACHINE = (
    "INSERT OR REPLACE INTO machine (workload, target, backend, schedule, machine, unix_secs) VALUES (?, ?, ?, ?, ?, ?)"
)
# Rows whose workload, target and backend have another schedule as the winner.
_BEATEN = (
    "EXISTS (SELECT 1 FROM winner WHERE winner.workload = measurement.workload AND winner.target = measurement.target "
    "AND winner.backend = measurement.backend AND winner.schedule <> measurement.schedule)"
)


def _with_splits(table: str, threads: str) -> str:
    """Returns the statement that replaces ``threads_m``, by the SQL expression of a row's threads.

    Skips malformed rows. The new name is the last one too, so that keys stay sorted.
    """
    threads_m = "json_extract(schedule, '$.threads_m')"
    split = f"json_array({threads_m}, {threads} / {threads_m})"
    both = f"typeof({threads_m}) = 'integer' AND {threads_m} > 0 AND typeof({threads}) = 'integer'"
    known = "json_extract(schedule, '$.threads') IS NOT NULL"
    return (
        f"UPDATE {table} SET schedule = json_set(json_remove(schedule, '$.threads_m'), '$.threads', {split}) "  # noqa: S608
        f"WHERE CASE WHEN json_valid(schedule) AND json_valid(target) THEN {both} AND NOT {known} ELSE 0 END"
    )


_CORES = "json_extract(target, '$.num_cores')"
# The statements that change rows of earlier versions.
MIGRATIONS = {
    5: (
        *(_with_splits(table, _CORES) for table in ("measurement", "winner", "machine")),
        _with_splits("choice", "threads"),
    )
}


class Records:
    """A records file, created if it does not exist. The docstring of this module describes its format.

    A Records object is callable as ``(workload, target) -> schedule`` and returns the best stored schedule. Any number
    of processes may read and write one file at the same time. Records survive the end of the process once ``add`` has
    returned, even after SIGKILL. A loss of power can lose the last records but not damage the file.

    Raises:
        ValueError: the file is not a records file, or cannot be read and written. It is not changed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        _check_place(self.path)
        with _explained(self.path):
            if self.path.exists() and self.path.stat().st_size > 0:
                _check_header(self.path)
            self._connection = sqlite3.connect(self.path, timeout=BUSY_SECS, isolation_level=None)
            try:
                _prepare(self.path, self._connection)
            except BaseException:
                self._connection.close()
                raise
        self._connection.text_factory = bytes  # decoded per row, so that an error can name the row

    def add(self, record: Record) -> None:
        """Writes one record, which is committed when the call returns."""
        measurement = record.measurement
        row = (
            canonical(record.workload.to_json()),
            target_key(record.target),
            record.schedule.backend,
            canonical(record.schedule.to_json()["values"]),
            canonical(measurement.run_secs),
            measurement.error,
            measurement.median_secs if measurement.ok else None,
            record.strategy,
            record.seed,
            record.unix_secs,
        )
        with _explained(self.path):
            self._connection.execute(_INSERT, row)

    def query(
        self, workload: Workload | None = None, target: Target | None = None, backend: str | None = None
    ) -> list[Record]:
        """Returns the records that match all given arguments, in the order in which they were added.

        Raises:
            ValueError: a row does not parse; the message names it.
        """
        conditions, parameters = _conditions(workload, target, backend)
        return self._select(f"WHERE {conditions} ORDER BY id", parameters)

    def best(self, workload: Workload, target: Target, backend: str | None = None) -> Record | None:
        """Returns the :func:`fastest` record, or None if nothing succeeded.

        Of a backend with a :meth:`winner`, only the winner counts. Without one, as in files of earlier versions, the
        schedules that were measured more than once come first, then those of the ``BEST_ROWS`` fastest rows.
        """
        conditions, parameters = _conditions(workload, target, backend)
        rows = f"{conditions} AND median_secs IS NOT NULL AND NOT {_BEATEN}"
        repeated = f"{rows} GROUP BY backend, schedule HAVING COUNT(*) > 1"
        leading = f"{rows} ORDER BY median_secs, id LIMIT {BEST_ROWS}"
        for candidates in (repeated, leading):
            same = f"(backend, schedule) IN (SELECT backend, schedule FROM measurement WHERE {candidates})"  # noqa: S608
            if found := fastest(self._select(f"WHERE {rows} AND {same} ORDER BY id", parameters * 2)):
                return found
        return None

    def __call__(self, workload: Workload, target: Target) -> Schedule | None:
        """Returns the schedule of the best record of any backend, or None if nothing succeeded."""
        record = self.best(workload, target)
        return record.schedule if record else None

    def set_winner(self, workload: Workload, target: Target, schedule: Schedule) -> None:
        """Stores the schedule that a search settled on. It replaces an earlier winner of the same backend.

        Raises:
            ValueError: the schedule has no successful measurement in this file.
        """
        key = (canonical(workload.to_json()), target_key(target), schedule.backend)
        values = canonical(schedule.to_json()["values"])
        measured = "workload = ? AND target = ? AND backend = ? AND schedule = ? AND median_secs IS NOT NULL"
        with _explained(self.path):
            known = self._connection.execute(f"SELECT 1 FROM measurement WHERE {measured} LIMIT 1", (*key, values))  # noqa: S608
            if known.fetchone() is None:
                raise ValueError(f"the schedule {schedule} of {workload} has no successful measurement in {self.path}")
            self._connection.execute(
                "INSERT OR REPLACE INTO winner (workload, target, backend, schedule, unix_secs) VALUES (?, ?, ?, ?, ?)",
                (*key, values, time.time()),
            )

    def winner(self, workload: Workload, target: Target, backend: str) -> Schedule | None:
        """Returns the schedule that the latest completed search settled on, or None if no search has completed.

        Raises:
            ValueError: the row does not parse.
        """
        key = (canonical(workload.to_json()), target_key(target), backend)
        found = "SELECT schedule FROM winner WHERE workload = ? AND target = ? AND backend = ?"
        with _explained(self.path):
            row = self._connection.execute(found, key).fetchone()
        if row is None:
            return None
        return self._schedule(backend, row[0], f"the winner of {workload} on {backend}")

    def set_default(self, workload: Workload, target: Target, schedule: Schedule) -> None:
        """Stores that this schedule of our kernels is the default of the target's machine model.

        It replaces an earlier one of the same model.
        """
        row = (
            canonical(workload.to_json()),
            target_key(target),
            schedule.backend,
            canonical(schedule.to_json()["values"]),
            target.model.id,
            time.time(),
        )
        with _explained(self.path):
            self._connection.execute(_INSERT_MACHINE, row)

    def defaults(self, workload: Workload, target: Target, backend: str) -> dict[str, Schedule]:
        """Returns the measured default schedules of a workload, by the ids of the machine models that chose them.

        Raises:
            ValueError: a row does not parse.
        """
        key = (canonical(workload.to_json()), target_key(target), backend)
        found = (
            "SELECT machine, schedule FROM machine WHERE workload = ? AND target = ? AND backend = ? ORDER BY machine"
        )
        with _explained(self.path):
            rows = self._connection.execute(found, key).fetchall()
        where = f"a default of {workload} on {backend}"
        return {_text(name, errors="replace"): self._schedule(backend, values, where) for name, values in rows}

    def choose(self, model: str, target: Target, choices: Iterable[ModelChoice]) -> None:
        """Replaces all choices of a model on a target. An empty ``choices`` removes them.

        Args:
            model: the :func:`model_key` of the model.
            target: the target that the model is built for.

        Raises:
            ValueError: there are two choices for one workload, or a choice has more threads than the target.
        """
        rows = [
            (
                model,
                target_key(target),
                canonical(choice.workload.to_json()),
                canonical(choice.schedule.to_json()["values"]),
                checked_threads(choice, target).threads,
                time.time(),
            )
            for choice in choices
        ]
        if len({row[2] for row in rows}) != len(rows):
            raise ValueError("there are two choices for one workload")
        with _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.execute(
                    "DELETE FROM choice WHERE model = ? AND target = ?", (model, target_key(target))
                )
                self._connection.executemany(_INSERT_CHOICE, rows)
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def chosen(self, model: str, target: Target) -> dict[Workload, ModelChoice]:
        """Returns the choices of the last :meth:`choose` for this model on this target, by workload.

        Raises:
            ValueError: a row does not parse; the message names its workload.
        """
        with _explained(self.path):
            rows = self._connection.execute(_SELECT_CHOICES, (model, target_key(target))).fetchall()
        choices = [parse_choice(self.path, dict(zip(_CHOICE_COLUMNS, row, strict=True)), target) for row in rows]
        return {choice.workload: choice for choice in choices}

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _select(self, clause: str, parameters: list[str]) -> list[Record]:
        with _explained(self.path):
            rows = self._connection.execute(f"{_SELECT} {clause}", parameters).fetchall()
        return [parse_record(self.path, dict(zip(COLUMNS, row, strict=True))) for row in rows]

    def _schedule(self, backend: str, values: str | bytes, where: str) -> Schedule:
        try:
            return parse_schedule(backend, _text(values))
        except (RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"records file {self.path}: {where} does not parse: {one_line(error)}") from error


def _text(value: str | bytes, errors: str = "strict") -> str:
    return value.decode(errors=errors) if isinstance(value, bytes) else value


def _conditions(workload: Workload | None, target: Target | None, backend: str | None) -> tuple[str, list[str]]:
    wanted = {
        "workload = ?": workload and canonical(workload.to_json()),
        "target = ?": target and target_key(target),
        "backend = ?": backend,
    }
    given = {condition: value for condition, value in wanted.items() if value is not None}
    return " AND ".join(["TRUE", *given]), list(given.values())


def _check_place(path: Path) -> None:
    if not path.parent.is_dir():
        raise ValueError(f"records file {path}: there is no directory {path.parent}; create it or choose another path")
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "not a regular file"
        raise ValueError(f"records file {path}: it is {kind}; choose the path of a file")
    # SQLite writes its log next to the file, so the directory must be writable even if the file exists.
    for place in (path.parent, path):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK, effective_ids=True):
            raise ValueError(f"records file {path}: no permission to read and write {place}; choose another path")


def _check_header(path: Path) -> None:
    """Rejects other files by their first page, before anything is written.

    ``immutable`` takes no lock, creates no file and ignores the write-ahead log. The two numbers are valid without the
    log, since :func:`_prepare` writes them before it enables the log. Only a version that was raised later may be in
    the log alone; :func:`_prepare` checks it again. ``writable_schema`` keeps SQLite from comparing the size of the
    file with the number of pages in its header. They differ if a process was killed while it copied the log into the
    file; opening the file repairs that.
    """
    with _connected(f"{path.as_uri()}?mode=ro&immutable=1") as connection:
        connection.execute("PRAGMA writable_schema = ON")
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        version = _version(connection)
    if application_id != APPLICATION_ID:
        raise ValueError(f"records file {path}: it is a database of another program; choose another path")
    _check_version(path, version)


def _check_version(path: Path, version: int) -> None:
    if not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(
            f"records file {path}: its schema version is {version} and this program reads 1 to {SCHEMA_VERSION}; "
            "use the program that wrote it or choose another path"
        )


@contextmanager
def _connected(uri: str) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(uri, uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _prepare(path: Path, connection: sqlite3.Connection) -> None:
    """Creates missing tables, migrates rows and enables the write-ahead log."""
    if _version(connection) < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        version = _version(connection)  # another process may have been faster
        _check_tables(connection, version)
        for statement in _statements(ADDED[version:]):
            connection.execute(statement)
        if version == 0:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        else:
            for statement in _statements(MIGRATIONS.get(later, ()) for later in range(version + 1, SCHEMA_VERSION + 1)):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    _check_version(path, _version(connection))
    _check_tables(connection, SCHEMA_VERSION)
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _statements(added: Iterable[tuple[str, ...]]) -> list[str]:
    return [statement for statements in added for statement in statements]


def _check_tables(connection: sqlite3.Connection, version: int) -> None:
    # Compared exactly, since a view or trigger in a foreign file would run whenever the file is used.
    found = connection.execute("SELECT sql FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'").fetchall()
    if sorted(sql for (sql,) in found) != sorted(_statements(ADDED[:version])):
        raise sqlite3.DatabaseError(f"its tables are not those of schema version {version}")


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # SQLite ignores its timeout here if another process enables the log at the same time.
    deadline = time.monotonic() + BUSY_SECS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:  # noqa: PERF203 - it waits anyway
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        damaged = type(error) is sqlite3.DatabaseError  # its subclasses concern the statement or the environment
        problem = "it is not a records file, or it is damaged" if damaged else "it cannot be used"
        raise ValueError(f"records file {path}: {problem} ({error}); choose another path") from error
