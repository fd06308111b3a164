"""The command from end to end, as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotune import search
from compiler.workloads.records import Records
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

ROOT = Path(__file__).resolve().parents[2]
RESULT_FIELDS = (
    "op m n k dtype threads backend strategy trials failures search_secs median_secs gflops peak_gflops "
    "fraction_of_peak fraction_of_roofline schedule history"
).split()


def start(directory: Path, *argv: str, op: str = "dense") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autotune.search", "--op", op, *argv],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_search_hands_over_all_that_it_found(tmp_path: Path) -> None:
    shapes = ("1x40x64", "17x33x9")
    asked = [word for shape in shapes for word in ("--shape", shape)]
    asked += ["--backend", "kernel", "--strategy", "random", "--trials", "5", "--json", "out.json"]
    process = start(tmp_path, *asked)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")

    content = json.loads((tmp_path / "out.json").read_text())
    target = Target.from_json(content["target"])
    assert target == Target.from_host(num_cores=1)
    assert target.peak_gflops
    assert target.bandwidth_gbs
    with Records(tmp_path / "records.sqlite") as records:
        for shape, result in zip(shapes, content["results"], strict=True):
            assert list(result) == RESULT_FIELDS
            m, n, k = map(int, shape.split("x"))
            assert [result[name] for name in ("op", "m", "n", "k", "dtype")] == ["dense", m, n, k, "float32"]
            assert result["trials"] == len(result["history"]) == 5
            found = records.query(Workload.dense(m, n, k), target, "kernel")
            assert len(found) == 5
            assert result["failures"] == sum(not record.measurement.ok for record in found)
            best = records.best(Workload.dense(m, n, k), target)
            assert best is not None
            assert result["schedule"] == best.schedule.to_json()
            assert result["median_secs"] == best.measurement.median_secs == result["history"][-1]
            assert result["gflops"] == pytest.approx(2 * m * n * k / result["median_secs"] / 1e9)

    assert all(f"\n{shape} " in out for shape in shapes), "the table has a line a shape"
    assert "\x1b" not in out, "a pipe gets plain text"
    assert "1x40x64 kernel: done, best" in out
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000
    assert "records.sqlite" in out
    assert "reports/index.html" in out


@pytest.mark.parametrize(
    ("workload", "shape"),
    [
        (Workload.conv2d(1, 9, 9, 17, 33, 3, padding=1), "1x9x9x17x33x3x3,padding=1"),
        (Workload.attention(1, 2, 9, 17, 8), "1x2x9x17x8"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op,
)
def test_every_operator_is_searched(workload: Workload, shape: str, tmp_path: Path) -> None:
    asked = ["--shape", shape, "--backend", "kernel", "--no-fast-algorithms", "--strategy", "random", "--trials", "8"]
    out, err = start(tmp_path, *asked, op=workload.op).communicate(timeout=120)
    assert err == ""
    assert f"{shape} kernel: done, best" in out
    with Records(tmp_path / "records.sqlite") as records:
        found = records.query(workload)
    assert found
    assert all(record.measurement.ok for record in found)
    assert all(record.schedule.values.get("algorithm", "direct") == "direct" for record in found)


def test_ctrl_c_ends_it_cleanly_and_keeps_what_was_measured(tmp_path: Path) -> None:
    process = start(tmp_path, "--shape", "8x8x8", "--backend", "kernel", "--strategy", "random", "--trials", "100000")
    assert process.stdout is not None
    for line in process.stdout:
        if "trial 4/" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == [
        "Stopping after this trial; Ctrl-C again stops at once.",
        "Interrupted; every finished measurement is kept in records.sqlite",
    ]
    with Records(tmp_path / "records.sqlite") as records:
        assert len(records.query()) >= 4


def test_a_failure_of_its_own_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("all 3 trials of dense 1x1x1 float32 on kernel failed; 3 times: hang")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "search", fails)
    assert search.main(["--op", "dense"]) == 1
    assert capsys.readouterr().err == (
        "python -m autotune.search: all 3 trials of dense 1x1x1 float32 on kernel failed; 3 times: hang\n"
    )


def test_a_record_that_does_not_parse_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.autotune.commands.search_results import RESULTS

    path = tmp_path / "r.sqlite"
    monkeypatch.chdir(tmp_path)
    _write_broken_record(path, RESULTS[0].workload)
    with pytest.raises(SystemExit) as stop:
        search.main(["--op", "dense", "--records", str(path)])
    assert stop.value.code == 2
    assert "r.sqlite: row 1 is no measurement" in capsys.readouterr().err


def _write_broken_record(path: Path, workload: Workload) -> None:
    import sqlite3
    from contextlib import closing

    from compiler.workloads.records import Measurement, Record
    from compiler.workloads.schedule import Schedule

    target = Target.from_host(num_cores=1)
    with Records(path) as records:
        records.add(Record(workload, target, Schedule("kernel", {}), Measurement((1e-3,))))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE measurement SET run_secs = '[\"soon\"]'")


@pytest.mark.tvm
def test_both_backends_are_searched_and_one_wins(tmp_path: Path) -> None:
    process = start(tmp_path, "--shape", "16x32x24", "--trials", "4", "--json", "out.json")
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(result["backend"], result["strategy"]) for result in results] == [("kernel", "rl"), ("tvm", "rl")]
    winner = max(results, key=lambda result: result["gflops"])["backend"]
    assert [line for line in out.splitlines() if line.startswith("16x32x24  ") and f"  {winner}, by " in line]
