"""The records file: records survive crashes and concurrent writers, and foreign files do not change."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.workloads.database import APPLICATION_ID, SCHEMA_VERSION, Records
from compiler.workloads.records import Measurement, ModelChoice, Record, fastest, model_key, ranked, target_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.compiler.workloads.old_files import file_of_version

WORKLOAD = Workload.dense(4, 5, 6, epilogue=("bias", "relu"))
TARGET = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=1)

# A program that adds records without end (or `count` of them) and says so after each.
WRITER = """
import sys
from compiler.workloads.database import Records
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

path, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
target = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=1)
print("started", flush=True)
sys.stdin.readline()
with Records(path) as records:
    i = 0
    while i != count:
        schedule = Schedule("kernel", {"i": i})
        records.add(Record(Workload.dense(4, 5, 6), target, schedule, Measurement((1.0 + i,)), strategy=name))
        print(i, flush=True)
        i += 1
"""


def record(
    secs: float = 1.0, *, workload: Workload = WORKLOAD, target: Target = TARGET, backend: str = "kernel"
) -> Record:
    return Record(workload, target, Schedule(backend, {"mr": 8}), Measurement((secs,)), strategy="random", seed=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.sqlite"


@pytest.fixture
def records(path: Path) -> Iterator[Records]:
    with Records(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared_records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Records]:
    """One file for hypothesis' many examples."""
    with Records(tmp_path_factory.mktemp("shared") / "records.sqlite") as opened:
        yield opened


def start_writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def test_a_measurement_has_samples_or_a_reason():
    assert Measurement((3.0, 1.0, 2.0)).median_secs == 2.0
    failure = Measurement((), "crashed: SIGSEGV")
    assert not failure.ok
    with pytest.raises(ValueError, match="SIGSEGV"):
        _ = failure.median_secs


@pytest.mark.parametrize("samples", [(math.nan,), (math.inf,), (-1.0,), (0.0,), (1.0, math.nan)])
def test_samples_that_are_not_times_are_rejected(samples: tuple[float, ...]):
    with pytest.raises(ValueError, match="finite and positive"):
        Measurement(samples)


@pytest.mark.parametrize(("samples", "error"), [((), None), ((1.0,), "crashed")])
def test_neither_or_both_of_samples_and_reason_are_rejected(samples: tuple[float, ...], error: str | None):
    with pytest.raises(ValueError, match="either samples or an error"):
        Measurement(samples, error)


choices = st.booleans() | st.integers(-(2**70), 2**70) | st.text() | st.lists(st.integers()).map(tuple)
measurements = st.one_of(
    st.lists(st.floats(min_value=1e-9, max_value=1e9), min_size=1).map(lambda secs: Measurement(tuple(secs))),
    st.text(st.characters(exclude_categories=["Cs"])).map(lambda reason: Measurement((), reason)),
)


@settings(deadline=None)
@given(st.dictionaries(st.text(), choices), measurements, st.none() | st.integers(0, 2**63 - 1), st.text("áb'\"\n"))
def test_what_is_added_comes_back(
    shared_records: Records, values: dict, measurement: Measurement, seed: int | None, name: str
):
    target = Target(name, "avx2", 256, 16, (32768,), 1)
    added = Record(WORKLOAD, target, Schedule("kernel", values), measurement, strategy=name or None, seed=seed)
    shared_records.add(added)
    assert shared_records.query(target=target)[-1] == added


def test_query_filters_and_keeps_the_order(records: Records):
    other = Workload.dense(4, 5, 7)
    added = [
        record(3.0),
        record(1.0, workload=other),
        record(2.0, backend="tvm"),
        Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": 9}), Measurement((), "wrong answer")),
    ]
    for each in added:
        records.add(each)
    assert records.query() == added
    assert records.query(workload=WORKLOAD) == [added[0], added[2], added[3]]
    assert records.query(workload=WORKLOAD, backend="kernel") == [added[0], added[3]]
    assert records.query(target=Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=2)) == []


rows_of_few_schedules = st.lists(
    st.tuples(st.floats(1e-6, 1.0), st.sampled_from(["kernel", "tvm"]), st.integers(1, 3)), max_size=8
)


@settings(deadline=None)
@given(rows_of_few_schedules)
def test_best_is_the_lowest_median_of_the_schedules_measured_most_surely(
    shared_records: Records, rows: list[tuple[float, str, int]]
):
    workload = Workload.dense(1, 1, len(shared_records.query()) + 1)  # one that is new to the file
    for secs, backend, mr in rows:
        shared_records.add(Record(workload, TARGET, Schedule(backend, {"mr": mr}), Measurement((secs,))))
    for wanted in (None, "kernel", "tvm"):
        samples: dict[tuple[str, int], list[float]] = {}
        for secs, backend, mr in rows:
            if wanted in (None, backend):
                samples.setdefault((backend, mr), []).append(secs)
        repeated = [readings for readings in samples.values() if len(readings) > 1]
        medians = map(statistics.median, repeated or samples.values())
        best = shared_records.best(workload, TARGET, wanted)
        assert (best.measurement.median_secs if best else None) == min(medians, default=None)
    best = shared_records.best(workload, TARGET)
    assert shared_records(workload, TARGET) == (best.schedule if best else None)


def test_the_median_decides_not_the_luckiest_sample(records: Records):
    steady = Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": 1}), Measurement((2.0, 2.0, 2.0)))
    lucky = Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": 2}), Measurement((0.1, 3.0, 3.0)))
    records.add(lucky)
    records.add(steady)
    assert records(WORKLOAD, TARGET) == steady.schedule


def test_measured_figures_take_no_part_in_the_key(records: Records):
    measured = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), 1, peak_gflops=117.5, bandwidth_gbs=20.1)
    records.add(record(1.0, target=measured))
    assert target_key(measured) == target_key(TARGET)
    assert records(WORKLOAD, TARGET) == Schedule("kernel", {"mr": 8})


def test_keys_are_canonical(records: Records, path: Path):
    records.add(record())
    with sqlite3.connect(path) as connection:
        workload, target, schedule = connection.execute("SELECT workload, target, schedule FROM measurement").fetchone()
    assert workload == '{"dims":[4,5,6],"dtype":"float32","epilogue":["bias","relu"],"op":"dense"}'
    assert list(json.loads(target)) == sorted(json.loads(target))
    assert schedule == '{"mr":8}'


def test_best_uses_the_index(records: Records):
    statements: list[str] = []
    for backend in (None, "kernel"):
        records._connection.set_trace_callback(statements.append)
        records.best(WORKLOAD, TARGET, backend)
        records._connection.set_trace_callback(None)
        plan = records._connection.execute(f"EXPLAIN QUERY PLAN {statements.pop()}").fetchall()
        assert b"SEARCH measurement USING INDEX fastest (workload=? AND target=? AND median_secs>?)" in plan[0]


def test_a_second_opening_goes_on(path: Path):
    with Records(path) as records:
        records.add(record(2.0))
    with Records(path) as first, Records(path) as second:
        first.add(record(1.0))
        assert [r.measurement.median_secs for r in second.query()] == [2.0, 1.0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_an_empty_file_becomes_a_records_file(path: Path):
    path.touch()
    with Records(path) as records:
        records.add(record())
        assert len(records.query()) == 1


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory", "a#b%20c?.sqlite", "ä ö.sqlite"])
def test_a_path_is_only_ever_a_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with Records(name) as records:
            records.add(record())
    assert (tmp_path / name).stat().st_size > 0
    with Records(name) as records:
        assert len(records.query()) == 2


def test_sigkill_loses_no_finished_measurement(path: Path):
    for round_ in range(3):
        writer = start_writer(path, f"round {round_}", -1)
        assert writer.stdin
        assert writer.stdout
        print(file=writer.stdin, flush=True)
        for line in writer.stdout:
            if line == "25\n":
                writer.send_signal(signal.SIGKILL)
                break
        finished = [*range(26), *(int(line) for line in writer.stdout.read().split())]
        assert writer.wait() == -signal.SIGKILL
        writer.stdin.close()
        writer.stdout.close()
        with Records(path) as records:
            written = [r.schedule.values["i"] for r in records.query() if r.strategy == f"round {round_}"]
        # The last one may be committed and not yet announced.
        assert written in (finished, [*finished, len(finished)])


def test_sigkill_amid_a_checkpoint_loses_nothing(path: Path):
    """The moment at which the first page, and with it the new size, has reached the file, and nothing else has."""
    with Records(path) as records:
        for _ in range(100):
            records.add(record())
        (page_size,) = records._connection.execute("PRAGMA page_size").fetchone()
        log = Path(f"{path}-wal").read_bytes()
        # https://www.sqlite.org/fileformat.html#walformat: a header of 32 bytes, then frames of 24 bytes and a page.
        frames = [log[start : start + 24 + page_size] for start in range(32, len(log), 24 + page_size)]
        first_page = [frame[24:] for frame in frames if frame.startswith((1).to_bytes(4, "big"))][-1]
        killed = path.with_name("killed.sqlite")
        killed.write_bytes(first_page + path.read_bytes()[page_size:])
        Path(f"{killed}-wal").write_bytes(log)
    with Records(killed) as records:
        assert len(records.query()) == 100


def test_processes_make_and_write_one_file_together(path: Path):
    writers = [start_writer(path, str(i), 100) for i in range(3)]
    for writer in writers:
        assert writer.stdout
        writer.stdout.readline()
    for writer in writers:  # all of them are up: now they make the file at the same moment
        assert writer.stdin
        print(file=writer.stdin, flush=True)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    with Records(path) as records:
        for i in range(3):
            assert [r.schedule.values["i"] for r in records.query() if r.strategy == str(i)] == list(range(100))


def _foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE measurement (x)")
    connection.commit()
    connection.close()


def _foreign_wal_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.close()


def _newer_version(path: Path) -> None:
    Records(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()


def _first_version(path: Path) -> None:
    with file_of_version(path, 1) as connection:
        connection.commit()  # the mode of the log cannot change within a transaction
        connection.execute("PRAGMA journal_mode = WAL")


def _first_version_with_a_trigger(path: Path) -> None:
    _first_version(path)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER t AFTER INSERT ON measurement BEGIN DELETE FROM measurement; END")
    connection.close()


def _other_columns(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE measurement (x)")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.close()


def _trigger(path: Path) -> None:
    Records(path).close()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER t AFTER INSERT ON measurement BEGIN DELETE FROM measurement; END")
    connection.close()


def _truncated(path: Path) -> None:
    with Records(path) as records:
        for _ in range(100):
            records.add(record())
    os.truncate(path, 5000)


UNUSABLE_FILES = {
    "random bytes": (lambda path: path.write_bytes(bytes(range(256)) * 40), "not a records file"),
    "text": (lambda path: path.write_text("hello"), "not a records file"),
    "magic only": (lambda path: path.write_bytes(b"SQLite format 3\0"), "not a records file"),
    "foreign database": (_foreign_database, "another program"),
    "foreign database in WAL mode": (_foreign_wal_database, "another program"),
    "newer version": (_newer_version, f"schema version is {SCHEMA_VERSION + 1}"),
    "other columns": (_other_columns, "tables are not those of schema version"),
    "trigger": (_trigger, "tables are not those of schema version"),
    "trigger in the first version": (_first_version_with_a_trigger, "tables are not those of schema version 1"),
    "truncated": (_truncated, "not a records file, or it is damaged"),
}


@pytest.mark.parametrize("kind", UNUSABLE_FILES)
def test_a_foreign_file_does_not_change(path: Path, kind: str):
    make, reason = UNUSABLE_FILES[kind]
    make(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=reason) as caught:
        Records(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_page_is_reported_and_left(path: Path):
    with Records(path) as records:
        for _ in range(500):
            records.add(record())
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xff" * 8192)
    before = path.read_bytes()
    with Records(path) as records, pytest.raises(ValueError, match="damaged"):
        records.query()
    assert path.read_bytes() == before


def test_unusable_paths_get_one_clear_line(tmp_path: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in [
        (tmp_path, "a directory"),
        (fifo, "not a regular file"),
        (tmp_path / "no" / "such" / "r.sqlite", "no directory"),
        (Path("/proc/records.sqlite"), "cannot be used|no permission"),
    ]:
        with pytest.raises(ValueError, match=reason) as caught:
            Records(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A directory of a user who may not write everywhere; root becomes one for the time of the test."""
    with TemporaryDirectory() as directory:
        user = os.geteuid()
        if user == 0:
            os.chown(directory, 65534, -1)
            os.seteuid(65534)
        try:
            yield Path(directory)
        finally:
            os.seteuid(user)


@pytest.mark.parametrize(("file_mode", "directory_mode"), [(0o400, 0o700), (0o200, 0o700), (0o600, 0o500), (0, 0o700)])
def test_no_permission(unprivileged: Path, file_mode: int, directory_mode: int):
    path = unprivileged / "records.sqlite"
    Records(path).close()
    path.chmod(file_mode)
    unprivileged.chmod(directory_mode)
    with pytest.raises(ValueError, match="no permission"):
        Records(path)
    unprivileged.chmod(0o700)


def test_no_permission_to_make_a_file(unprivileged: Path):
    unprivileged.chmod(0o500)
    with pytest.raises(ValueError, match="no permission"):
        Records(unprivileged / "records.sqlite")
    assert list(unprivileged.iterdir()) == []
    unprivileged.chmod(0o700)


UNTRUSTED_CELLS = {
    "workload": [
        '{"op": "dense", "dims": [4, 5, 6], "dtype": "float32", "epilogue": []}',
        "",
        "[]",
        "{}",
        '{"op":"dense","dims":"456","dtype":"float32","epilogue":[]}',
        "[" * 100_000,
        b"\xff",
    ],
    "target": ["", "[]", "{}", json.dumps(TARGET.to_json()), target_key(TARGET).replace("256", '"256"')],
    "backend": [b"\xff"],
    "schedule": ["", "[]", '{"mr":1.5}', '{"mr":null}', '{"mr":[[1]]}', '{"mr":["a"]}', '{"mr":{}}', b"\xff"],
    "run_secs": [
        "",
        "{}",
        "[]",
        "[NaN]",
        "[-1.0]",
        "[Infinity]",
        '["1"]',
        "[true]",
        "[2.0]",
        "[1" + "0" * 400 + "]",
        1.0,
    ],
    "error": ["also failed", b"\xff"],
    "median_secs": [0.5, "x", None],
    "strategy": [b"\xff"],
    "seed": ["a", 0.5],
    "unix_secs": ["yesterday", b"\xff", math.inf],
}


@pytest.mark.parametrize(("column", "cell"), [(c, cell) for c, cells in UNTRUSTED_CELLS.items() for cell in cells])
def test_a_row_that_does_not_parse_is_named(records: Records, column: str, cell: object):
    records.add(record())
    records.add(record())
    records._connection.execute(f"UPDATE measurement SET {column} = ? WHERE id = 2", (cell,))  # noqa: S608
    with pytest.raises(ValueError, match="row 2 is not a measurement: ") as caught:
        records.query()
    assert "\n" not in str(caught.value)


def test_medians_agree_with_the_samples(records: Records):
    samples = (3.0, 1.0, 2.0, 5.0)
    records.add(Record(WORKLOAD, TARGET, Schedule("kernel", {}), Measurement(samples)))
    best = records.best(WORKLOAD, TARGET)
    assert best
    assert best.measurement.run_secs == samples
    assert best.measurement.median_secs == statistics.median(samples)


def test_a_file_of_the_first_version_gets_what_it_lacks_and_keeps_what_it_has(path: Path):
    _first_version(path)
    row = {
        "workload": '{"dims":[4,5,6],"dtype":"float32","epilogue":["bias","relu"],"op":"dense"}',
        "target": target_key(TARGET),
        "backend": "kernel",
        "schedule": '{"mr":8}',
        "run_secs": "[1.0]",
        "median_secs": 1.0,
        "unix_secs": 0.0,
    }
    with sqlite3.connect(path) as connection:
        names, marks = ", ".join(row), ", ".join("?" * len(row))
        connection.execute(f"INSERT INTO measurement ({names}) VALUES ({marks})", tuple(row.values()))  # noqa: S608
    connection.close()
    choice = ModelChoice(WORKLOAD, Schedule("kernel", {"mr": 4}), 1)
    for _ in range(2):
        with Records(path) as records, Records(path) as other:
            records.choose("a model", TARGET, [choice])
            assert other.chosen("a model", TARGET) == {WORKLOAD: choice}
            (found,) = other.query()
            assert (found.workload, found.target, found.schedule) == (WORKLOAD, TARGET, Schedule("kernel", {"mr": 8}))
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    connection.close()


def test_a_newer_version_that_is_only_in_the_log_is_rejected(path: Path):
    with Records(path) as records:
        records._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        (written,) = sqlite3.connect(f"{path.as_uri()}?immutable=1", uri=True).execute("PRAGMA user_version").fetchone()
        assert written == SCHEMA_VERSION
        with pytest.raises(ValueError, match=f"schema version is {SCHEMA_VERSION + 1}"):
            Records(path)


OTHER = Workload.conv2d(1, 8, 8, 4, 4, 3)


def choice(workload: Workload = WORKLOAD, mr: int = 8, threads: int = 1) -> ModelChoice:
    return ModelChoice(workload, Schedule("kernel", {"mr": mr, "order": "n", "tile": (1, 2), "pack": True}), threads)


def test_choices_come_back_and_are_replaced_together(records: Records, path: Path):
    two = Target("some cpu", "avx2", 256, 16, (32768, 1 << 20), num_cores=2)
    assert records.chosen("a", TARGET) == {}
    records.choose("a", TARGET, [choice(), choice(OTHER)])
    records.choose("a", two, [choice(threads=2)])
    records.choose("b", TARGET, [choice(mr=2)])
    with Records(path) as other:
        assert other.chosen("a", TARGET) == {WORKLOAD: choice(), OTHER: choice(OTHER)}
        assert other.chosen("a", two) == {WORKLOAD: choice(threads=2)}
        assert other.chosen("b", TARGET) == {WORKLOAD: choice(mr=2)}
    records.choose("a", TARGET, [choice(OTHER, mr=1)])
    assert records.chosen("a", TARGET) == {OTHER: choice(OTHER, mr=1)}
    records.choose("a", TARGET, [])
    assert records.chosen("a", TARGET) == {}
    assert records.chosen("a", two) == {WORKLOAD: choice(threads=2)}


@pytest.mark.parametrize(
    ("choices", "reason"),
    [([choice(mr=1), choice(mr=2)], "two choices for one workload"), ([choice(OTHER, threads=2)], "between 1 and")],
)
def test_choices_that_make_no_sense_leave_the_earlier_ones(records: Records, choices: list[ModelChoice], reason: str):
    records.choose("a", TARGET, [choice()])
    with pytest.raises(ValueError, match=reason):
        records.choose("a", TARGET, choices)
    assert records.chosen("a", TARGET) == {WORKLOAD: choice()}


def test_a_choice_is_a_schedule_of_our_kernels_on_a_thread_or_more():
    with pytest.raises(ValueError, match="a schedule of kernel, got one of tvm"):
        ModelChoice(WORKLOAD, Schedule("tvm", {}), 1)
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        ModelChoice(WORKLOAD, Schedule("kernel", {}), 0)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        *[("workload", cell) for cell in UNTRUSTED_CELLS["workload"]],
        *[("schedule", cell) for cell in UNTRUSTED_CELLS["schedule"]],
        *[("threads", cell) for cell in (0, 2, 1.5, "many")],
    ],
)
def test_a_choice_that_does_not_parse_is_named(records: Records, column: str, cell: object):
    records.choose("a", TARGET, [choice()])
    records._connection.execute(f"UPDATE choice SET {column} = ?", (cell,))  # noqa: S608
    with pytest.raises(ValueError, match=r"the choice for .* does not parse: ") as caught:
        records.chosen("a", TARGET)
    assert "\n" not in str(caught.value)


def test_a_model_is_known_by_its_workloads_in_their_order():
    text = json.dumps([WORKLOAD.to_json(), OTHER.to_json()], sort_keys=True, separators=(",", ":"))
    assert model_key([WORKLOAD, OTHER]) == hashlib.sha256(text.encode()).hexdigest()
    assert len({model_key(layers) for layers in ([], [WORKLOAD], [WORKLOAD, OTHER], [OTHER, WORKLOAD])}) == 4


def test_ranked_puts_repeated_readings_first_and_pools_them():
    def reading(mr: int, *secs: float) -> Record:
        return Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": mr}), Measurement(secs))

    failure = Record(WORKLOAD, TARGET, Schedule("kernel", {"mr": 5}), Measurement((), "crashed"))
    given = [reading(1, 0.1), reading(2, 3.0, 3.0), reading(3, 1.0), failure, reading(2, 1.0), reading(3, 2.0, 2.0)]
    found = [(r.schedule.values["mr"], r.measurement.run_secs) for r in ranked(given)]
    assert found == [(3, (1.0, 2.0, 2.0)), (2, (3.0, 3.0, 1.0)), (1, (0.1,))]
    assert fastest(given) == ranked(given)[0]
    assert ranked([failure]) == []
    assert fastest([failure]) is None
