"""The command line from end to end, and ``autotune.tune``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import autotune
from autotune import search
from compiler.workloads.database import Records
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.autotune.fake_runner import FakeRunner
from tests.autotune.search_process import ROOT, start_search
from tests.autotune.synthetic import TARGET, WORKLOAD, SyntheticSpace


def test_ctrl_c_ends_it_cleanly_and_keeps_all_measurements(tmp_path: Path) -> None:
    process = start_search(
        tmp_path,
        "--op",
        "dense",
        "--shape",
        "8x8x8",
        "--backend",
        "kernel",
        "--strategy",
        "random",
        "--trials",
        "100000",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "trial 4/" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines() == [
        "Stopping after this trial; Ctrl-C again stops at once.",
        "Interrupted; every finished measurement is stored in records.sqlite",
    ]
    with Records(tmp_path / "records.sqlite") as records:
        assert len(records.query()) >= 4


def test_a_failure_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Failing(FakeRunner):
        def measure(self, workload: Any, target: Any, backend: Any, schedules: Any) -> Any:  # noqa: ARG002
            raise RuntimeError("the worker process cannot measure: exited with code 3")

    monkeypatch.chdir(tmp_path)
    assert search.main(["--op", "dense", "--backend", "kernel", "--strategy", "random"], Failing(lambda _: 1.0)) == 1
    assert capsys.readouterr().err == (
        "python -m autotune.search: the worker process cannot measure: exited with code 3\n"
    )


def test_a_record_that_does_not_parse_is_reported_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.autotune.commands.search_results import RESULTS

    path = tmp_path / "r.sqlite"
    monkeypatch.chdir(tmp_path)
    _write_broken_record(path, RESULTS[0].workload)
    with pytest.raises(SystemExit) as stop:
        search.main(["--op", "dense", "--records", str(path)])
    assert stop.value.code == 2
    assert "r.sqlite: row 1 is not a measurement" in capsys.readouterr().err


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


@pytest.mark.parametrize("module", ["autotune", "autotune.search"])
def test_the_version(module: str, tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert process.stdout == f"loopwright {version('loopwright')}\n"


def test_the_package_is_the_command(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "autotune", "--op", "conv9d"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert process.stderr.startswith("python -m autotune.search: error: argument --op: ")


# The function.


def test_tune_is_that_of_the_command() -> None:
    assert autotune.tune is search.tune
    assert autotune.TuneResult.__name__ == "TuneResult"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        autotune.nothing  # noqa: B018


def test_tune_measures_the_schedules_of_a_space_with_a_runner(tmp_path: Path) -> None:
    space = SyntheticSpace()
    runner = FakeRunner(space.secs)
    with Records(tmp_path / "r.sqlite") as records:
        result = autotune.tune(
            WORKLOAD, TARGET, strategy="random", trials=4, records=records, runner=runner, space=space
        )
        assert records.best(WORKLOAD, TARGET) == result.best, "an open file stays open"
    assert result.trials == len(result.history) == 4
    assert not runner.closed, "a runner that was passed stays open"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials must be at least 1, got 0"),
        ({"strategy": "annealing"}, "unknown strategy 'annealing'; choose from: rl, evolutionary, random"),
        ({"backend": "cuda"}, "unknown backend 'cuda'; choose from: kernel, tvm"),
        ({"target": "riscv"}, "unknown arch 'riscv'; choose from: host, avx512"),
        ({"threads": 0}, "threads must be between 1 and"),
        ({"records": "/no/such/directory/r.sqlite"}, "there is no directory"),
    ],
)
def test_tune_rejects_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        autotune.tune(WORKLOAD, **options)
    assert "\n" not in str(raised.value)


def test_tune_names_the_present_name_of_an_argument() -> None:
    renamed: dict[str, Any] = {"winograd": False}
    with pytest.raises(TypeError, match="no argument 'winograd'; use 'fast_algorithms'"):
        autotune.tune(WORKLOAD, **renamed)


def test_tune_measures_on_this_machine(tmp_path: Path) -> None:
    workload = Workload.dense(17, 33, 65, epilogue=("bias", "relu"))
    result = autotune.tune(workload, strategy="evolutionary", trials=12, records=tmp_path / "r.sqlite")
    assert (result.trials, result.failures) == (12, 0)
    assert 0 < result.best.measurement.median_secs < 1
    with Records(tmp_path / "r.sqlite") as records:
        assert len({record.schedule for record in records.query(workload)}) == result.trials
        assert records.best(workload, Target.from_host(num_cores=1)) == result.best


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, autotune; print({'torch', 'tvm', 'xgboost', 'onnx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
