"""``python -m autotune.search --op`` from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune import backends, search
from compiler.workloads.database import Records
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.autotune.fake_runner import FakeRunner
from tests.autotune.search_process import start_search

RESULT_FIELDS = (
    "op m n k dtype threads backend strategy trials failures search_secs median_secs gflops peak_gflops "
    "fraction_of_peak fraction_of_roofline schedule history"
).split()


def test_a_search_reports_all_results(tmp_path: Path) -> None:
    shapes = ("1x40x64", "17x33x9")
    argv = [word for shape in shapes for word in ("--shape", shape)]
    argv += ["--backend", "kernel", "--strategy", "random", "--trials", "5", "--json", "out.json"]
    process = start_search(tmp_path, "--op", "dense", *argv)
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
            assert len({record.schedule for record in found[:5]}) == 5
            assert result["failures"] == sum(not record.measurement.ok for record in found)
            best = records.best(Workload.dense(m, n, k), target)
            assert best is not None
            assert best.schedule == records.winner(Workload.dense(m, n, k), target, "kernel")
            assert result["schedule"] == best.schedule.to_json()
            assert result["median_secs"] == best.measurement.median_secs
            assert result["history"][-1] == min(record.measurement.median_secs for record in found[:5])
            assert result["gflops"] == pytest.approx(2 * m * n * k / result["median_secs"] / 1e9)

    assert all(f"\n{shape} " in out for shape in shapes), "the table has one line per shape"
    assert "\x1b" not in out, "output to a pipe is plain text"
    assert "1x40x64 kernel: done, best" in out
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000
    assert "records.sqlite" in out
    assert f"\nMachine model: {content['target']['machine']}\n" in out
    assert "reports/index.html" in out


@pytest.mark.parametrize(
    ("workload", "shape"),
    [
        (Workload.conv2d(1, 9, 9, 17, 33, 3, padding=1), "1x9x9x17x33x3x3,padding=1"),
        (Workload.attention(1, 2, 9, 17, 8), "1x2x9x17x8"),
        (Workload("softmax", (3, 17)), "3x17"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.op,
)
def test_every_operator_is_searched(workload: Workload, shape: str, tmp_path: Path) -> None:
    argv = ["--shape", shape, "--backend", "kernel", "--no-fast-algorithms", "--strategy", "random", "--trials", "8"]
    out, err = start_search(tmp_path, "--op", workload.op, *argv).communicate(timeout=120)
    assert err == ""
    assert f"{shape} kernel: done, best" in out
    with Records(tmp_path / "records.sqlite") as records:
        found = records.query(workload)
    assert found
    assert all(record.measurement.ok for record in found)
    assert all(record.schedule.values.get("algorithm", "direct") == "direct" for record in found)


@pytest.mark.tvm
def test_both_backends_are_searched_and_one_wins(tmp_path: Path) -> None:
    process = start_search(tmp_path, "--op", "dense", "--shape", "16x32x24", "--trials", "4", "--json", "out.json")
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [(result["backend"], result["strategy"]) for result in results] == [("kernel", "rl"), ("tvm", "rl")]
    winner = max(results, key=lambda result: result["gflops"])["backend"]
    assert [line for line in out.splitlines() if line.startswith("16x32x24  ") and f"  {winner}, by " in line]


def test_the_default_stays_in_the_table_the_file_and_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All schedules are equally fast, but each is read ten times too fast at first."""
    seen = set()

    def secs(schedule: object) -> float:
        lucky = schedule not in seen
        seen.add(schedule)
        return 1e-4 if lucky else 1e-3

    monkeypatch.chdir(tmp_path)
    argv = ["--op", "dense", "--shape", "64x64x64", "--backend", "kernel", "--strategy", "random", "--trials", "8"]
    assert search.main([*argv, "--json", "out.json"], FakeRunner(secs)) == 0
    workload, target = Workload.dense(64, 64, 64), Target.from_host(num_cores=1)
    default = backends.space("kernel", workload, target).default()
    (result,) = json.loads(Path("out.json").read_text())["results"]
    assert result["schedule"] == default.to_json()
    assert result["median_secs"] == 1e-3
    with Records("records.sqlite") as records:
        assert records(workload, target) == default
    gflops = f"{workload.flops / 1e-3 / 1e9:.1f}"
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("64x64x64  ")]
    assert line.split()[2] == gflops
