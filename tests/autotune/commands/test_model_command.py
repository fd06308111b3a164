"""``python -m autotune.search --model`` from end to end, on a small model."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from autotune import backends, search
from compiler.workloads.database import Records
from compiler.workloads.records import ModelChoice, model_key
from compiler.workloads.target import Target
from tests.autotune.fake_runner import FakeRunner
from tests.autotune.search_process import start_search
from tests.autotune.tiny_model import CONVOLUTION, WORKLOADS, save_tiny_model


def test_the_command_reports_all_results(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, height="h")
    argv = "--model tiny.onnx --input-shape x=1x16x8x8 --threads 1 --strategy random --trials 8 --json out.json"
    process = start_search(tmp_path, *argv.split())
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert Target.from_json(content["target"]) == Target.from_host(num_cores=1)
    layers = [layer for result in content["results"] for layer in result["layers"]]
    assert len(layers) == len(set(layers)) == len(WORKLOADS)
    assert sum(result["trials"] for result in content["results"]) == 8
    for key, each in [("default_secs", "default_secs"), ("best_secs", "median_secs")]:
        total = sum(len(result["layers"]) * result[each] for result in content["results"])
        assert content[key] == pytest.approx(total)
    assert "conv2d 1x8x8x16x16x3x3,padding=1 bias relu       2        1" in out
    assert "dense 1x5x16 bias" in out
    assert "Expected of all of them: " in out
    assert "\x1b" not in out
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000
    weights = out.partition(" share\n")[2].partition("All of them")[0].splitlines()[1:]
    shares = [float(line.split()[-1].removesuffix("%")) for line in weights]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_ctrl_c_keeps_all_measurements(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    process = start_search(
        tmp_path, "--model", "tiny.onnx", "--threads", "1", "--strategy", "random", "--trials", "100000"
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "[16/" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted; every finished measurement is stored in records.sqlite"
    with Records(tmp_path / "records.sqlite") as records:
        assert len(records.query()) >= 18


def test_earlier_choices_are_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path)
    target = Target.from_host(num_cores=1)
    choice = ModelChoice(CONVOLUTION, backends.space("kernel", CONVOLUTION, target).default(), 1)
    with Records("records.sqlite") as records:
        records.choose(model_key(WORKLOADS), target, [choice])
    argv = ["--model", "tiny.onnx", "--threads", "1", "--strategy", "random", "--trials", "4"]
    assert search.main(argv) == 0
    assert (
        "An earlier --graph has chosen the schedules of 1 workloads, which take precedence" in capsys.readouterr().out
    )


def test_a_default_that_fails_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path)
    runner = FakeRunner(lambda _: 1e-3)
    runner.failing = {backends.space("kernel", CONVOLUTION, Target.from_host(num_cores=1)).default()}
    assert search.main(["--model", "tiny.onnx", "--threads", "1"], runner) == 1
    assert capsys.readouterr().err == (
        f"python -m autotune.search: the default schedule of {CONVOLUTION} failed: wrong answer\n"
    )


def test_the_tables_show_that_defaults_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path)
    argv = ["--model", "tiny.onnx", "--threads", "1", "--strategy", "random", "--trials", "8", "--json", "out.json"]
    assert search.main(argv, FakeRunner(lambda _: 1e-3)) == 0
    assert "Expected of all of them: 3.00 ms -> 3.00 ms per run, +0.0%" in capsys.readouterr().out
    target = Target.from_host(num_cores=1)
    results = json.loads(Path("out.json").read_text())["results"]
    with Records("records.sqlite") as records:
        for workload, result in zip(dict.fromkeys(WORKLOADS), results, strict=True):
            best = records.best(workload, target)
            assert best
            assert best.schedule == backends.space("kernel", workload, target).default()
            assert result["schedule"] == best.schedule.to_json()
