"""The command of the scaling benchmark: wrong arguments are one line, and small runs give tables and files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from benchmarks.scaling import command, curves, disturbed
from benchmarks.scaling.neighbor import neighbor

MODEL = "direction-classifier"
cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["curves", "--model", "none-such"], "no model 'none-such' here"),
        (["curves", "--model", "", "--layer", "none-such"], "unknown shape 'none-such'"),
        (["curves", "--model", ""], "nothing to measure"),
        (["curves", "--threads", "0"], "must be numbers between 1 and"),
        (["simulate", "--model", "none-such"], "no model 'none-such'; there are resnet50"),
        (["simulate", "--threads", "2,x"], "must be numbers between 1 and 1024"),
        (["simulate", "--threads", "2000"], "must be numbers between 1 and 1024"),
        (["simulate", "--fork-join", "3"], "must be two numbers of µs"),
        (["simulate", "--fork-join", "nan,1"], "must be two numbers of µs"),
        (["simulate", "--against", "/none/such.json"], "cannot read /none/such.json: No such file"),
        (["simulate", "--model", "resnet50", "--against", "past"], "is of resnet50-v1.5, not of resnet50"),
        (["simulate", "--machine", "/none/such.csv"], "No such file"),
        (["simulate", "--json", "/none/such.json"], "cannot write"),
        (["disturbed", "--threads", "1"], "not a whole number of 2 or more"),
        (["disturbed", "--threads", "5000"], "this process may use"),
        (["disturbed", "--duration", "0"], "not a number of seconds above 0"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.tvm
@pytest.mark.skipif(models.missing(MODEL) is not None, reason=str(models.missing(MODEL)))
def test_a_simulation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "simulated.json", tmp_path / "simulated.png"
    measured = [{"name": MODEL, "threads": n, "secs": {"default": 1.0 / n}} for n in (1, 4)]
    (tmp_path / "curves.json").write_text(json.dumps(measured))
    options = ["--threads", "4", "--layers", "--duration", "0.01", "--fork-join", "2,0.5"]
    options += ["--against", str(tmp_path / "curves.json"), "--json", str(file), "--png", str(picture)]
    before = os.sched_getaffinity(0)
    assert command.main(["simulate", "--model", MODEL, *options]) == 0
    assert os.sched_getaffinity(0) == before
    text = capsys.readouterr().out
    assert "fork and join of a region, µs by threads: 1: 0.0, 4: 3.0" in text
    assert "compared with measured" in text
    [result] = json.loads(file.read_text())
    assert [each["threads"] for each in result["predictions"]] == [1, 4]
    assert result["predictions"][0]["speedup"] == pytest.approx(1)
    assert picture.stat().st_size > 0


def test_curves_collect_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(module: str, arguments: list[str], _limit_secs: float) -> Any:
        about = {"cpu": "C", "isa": "avx2", "versions": {}, "skipped": {"openvino": "pip install openvino"}}
        model = module == "benchmarks.whole_models"
        secs = [[0.2, 0.3, 0.4]] if model else [0.2, 0.3, 0.4]
        engine = "onnxruntime" if model else "oneDNN"
        assert arguments[1:3] == ["--threads", "1"]
        return {
            **about,
            "cores_busy_with_others": 0.0,
            "implementations": {"default": {"secs": secs}, engine: {"secs": secs}},
        }

    monkeypatch.setattr(curves.isolated, "run", run)
    file = tmp_path / "curves.json"
    options = ["--threads", "1", "--model", MODEL, "--layer", "resnet50-2a-3x3", "--json", str(file)]
    if reason := models.missing(MODEL):
        pytest.skip(reason)
    assert command.main(["curves", *options, "--png", str(tmp_path / "curves.png")]) == 0
    assert [each["secs"] for each in json.loads(file.read_text())] == [
        {"default": 0.3, "onnxruntime": 0.3},
        {"default": 0.3, "oneDNN": 0.3},
    ]
    text = capsys.readouterr().out
    assert "openvino: skipped, pip install openvino" in text
    assert "300.000" in text


@pytest.mark.skipif(cores < 2, reason="a disturbed run needs two cores")
@pytest.mark.tvm
@pytest.mark.skipif(models.missing(MODEL) is not None, reason=str(models.missing(MODEL)))
def test_a_disturbed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(disturbed, "ROUNDS", 1)
    file = tmp_path / "disturbed.json"
    options = ["--model", MODEL, "--threads", "2", "--duration", "0.01", "--json", str(file)]
    assert command.main(["disturbed", *options]) == 0
    runs = json.loads(file.read_text())["runs"]
    assert [run["disturbance"] for run in runs] == [each.name for each in disturbed.DISTURBANCES]
    assert "always busy" in capsys.readouterr().out


def test_the_neighbor_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    with neighbor(min(os.sched_getaffinity(0)), 1, 100):
        assert started[0].poll() is None
    assert started[0].returncode is not None
    with pytest.raises(RuntimeError, match="did not start"), neighbor(100_000, 1, 1):
        pass
