"""The measurement of one whole model, in a separate process, with and without records."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest

import compiler
import kernels
from benchmarks import models
from benchmarks.whole_models import command, measure
from benchmarks.whole_models.implementations import check, frozen
from benchmarks.whole_models.stored import StoredSchedules, measured_alone, stored_schedules
from compiler.measure import isolated
from compiler.measure.answers import WrongAnswerError
from compiler.measure.levels import LEVELS
from compiler.program.compiled_model import CompiledModel
from compiler.workloads.database import Records
from compiler.workloads.layer import Layer
from compiler.workloads.records import Measurement, ModelChoice, Record, model_key
from compiler.workloads.workload import Workload

MODEL = "mnist-cnn"
needs_peer = pytest.mark.skipif(
    find_spec("onnxruntime") is None, reason="ONNX Runtime, which the answers are compared with, is not installed"
)


@cache
def built() -> CompiledModel:
    if reason := models.missing(MODEL):
        pytest.skip(reason)
    return compiler.build(frozen(MODEL), threads=1)


def record(path: Path, chosen: bool) -> Path:
    """A file with the default schedules of the model; ``chosen``: also as choices for the whole model."""
    model = built()
    layers = [(layer, schedule) for layer, schedule in zip(model.layers, model.schedules(), strict=True)]
    scheduled = {layer.workload: schedule for layer, schedule in layers if layer.workload and schedule}
    with Records(path) as records:
        for workload, schedule in scheduled.items():
            records.add(Record(workload, replace(model.target, num_cores=1), schedule, Measurement((0.001,))))
        if chosen:
            key = model_key(layer.workload for layer in model.layers if layer.workload is not None)
            records.choose(key, model.target, [ModelChoice(workload, s, 1) for workload, s in scheduled.items()])
    return path


@pytest.mark.tvm
def test_what_is_stored_schedules(tmp_path: Path) -> None:
    model = built()
    layers = sum(layer.workload is not None for layer in model.layers)
    nothing, alone, whole = tmp_path / "none", tmp_path / "alone.sqlite", tmp_path / "whole.sqlite"
    assert stored_schedules(nothing, model) == StoredSchedules(layers)
    assert not stored_schedules(nothing, model)
    assert not nothing.exists()
    assert stored_schedules(record(alone, chosen=False), model) == StoredSchedules(layers, measured=layers)
    assert stored_schedules(record(whole, chosen=True), model) == StoredSchedules(
        layers, measured=layers, chosen=layers
    )
    with Records(alone) as records:
        workload = next(layer.workload for layer in model.layers if layer.workload is not None)
        assert measured_alone(records)(workload, model.target) == model.schedules()[0]
        assert measured_alone(records)(workload, replace(model.target, num_cores=7)) is None


@pytest.mark.tvm
@needs_peer
def test_all_implementations_are_measured_with_the_right_answer(tmp_path: Path) -> None:
    path = record(tmp_path / "r.sqlite", chosen=True)
    result = isolated.run("benchmarks.whole_models", [MODEL, "--duration", "0.01", "--records", str(path)], 300)
    assert result["model"] == MODEL
    assert len(result["cores"]) == result["threads"] == 1
    assert {"default", "tuned", "onnxruntime"} <= set(result["implementations"])
    assert set(result["implementations"]) == {"default", "tuned"} | set(result["versions"])
    assert set(result["versions"]) | set(result["skipped"]) == {"onnxruntime", "openvino", "ncnn"}
    for measured in result["implementations"].values():
        assert measured["difference"] <= 1e-4
        assert measured["runs"] >= len(measured["secs"]) == 20
        assert all(1e-9 < secs < 10 for of_round in measured["secs"] for secs in of_round)
    stored = result["stored"]
    assert stored["measured"] == stored["chosen"] == stored["layers"] == 3
    assert result["roofline_layers"] == result["kernel_layers"] == 5  # two layers of pooling, without a schedule
    # Two convolutions of 28·28·8·25 and 14·14·16·8·25 products, and 256·10 of a dense layer.
    assert result["flops"] == 2 * (28 * 28 * 8 * 25 + 14 * 14 * 16 * 200 + 2560)
    assert result["weights_level"] in LEVELS
    assert result["bandwidth_gbs"] > 0
    least = result["flops"] / (result["peak_gflops"] * 1e9)
    assert least <= result["roofline_secs"] < 100 * least
    assert result["summary"]["ours"] == "tuned"
    assert result["summary"]["ratio_to_fastest_peer"]["value"] > 0
    assert result["how_to_tune"] is not None


@pytest.mark.tvm
@needs_peer
def test_stored_schedules_can_be_left_out(tmp_path: Path) -> None:
    path = record(tmp_path / "r.sqlite", chosen=True)
    arguments = [MODEL, "--duration", "0.01", "--records", str(path), "--default-schedules"]
    result = isolated.run("benchmarks.whole_models", arguments, 300)
    assert "tuned" not in result["implementations"]
    assert result["stored"]["measured"] == result["stored"]["chosen"] == 0
    assert result["how_to_tune"] is None


def test_the_roofline_counts_every_stage_of_a_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = (Workload.conv2d(1, 8, 8, 4, 16, 1), Workload.conv2d(1, 8, 8, 16, 4, 1))
    weights = {
        f"weight{place}": np.zeros(stage.input_shapes["weight"], np.float32) for place, stage in enumerate(stages)
    }
    chain = Layer("chain", "conv2d_chain", (1, 8, 8, 4), {"stages": [{}, {}]}, weights, stages=stages)
    window = {"x": [1, 8, 8, 4], "kernel": [2, 2], "stride": [2, 2], "padding": [0] * 4, "dilation": [1, 1]}
    pooling = Workload.max_pool2d((1, 8, 8, 4), 2, stride=2)
    pool = Layer("pool", "max_pool2d", (1, 4, 4, 4), {**window, "ceil_mode": False}, stages=(pooling,))
    monkeypatch.setattr(kernels, "peak_gflops", lambda *_: 1.0)
    monkeypatch.setattr(kernels, "cache_bytes", lambda: (400, 1 << 20, 32 << 20))
    gbs = {"L2": 1e9, "L3": 1e8}
    limits = measure.Limits.measured([chain, pool], "avx2", 1, lambda level, _: gbs[level])
    found = limits.to_json()
    assert found["flops"] == 2 * 8 * 8 * (4 * 16 + 16 * 4)
    assert found["roofline_secs"] == pytest.approx(found["flops"] / 1e9 + pooling.bytes / 1e18)
    assert found["roofline_layers"] == found["kernel_layers"] == 2
    assert (found["peak_gflops"], found["bandwidth_gbs"], found["weights_level"]) == (1.0, 1e9, "L2")


def test_the_higher_of_two_measurements_of_a_model_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    window = {"x": [1, 8, 8, 4], "kernel": [2, 2], "stride": [2, 2], "padding": [0] * 4, "dilation": [1, 1]}
    pooling = Workload.max_pool2d((1, 8, 8, 4), 2, stride=2)
    pool = Layer("pool", "max_pool2d", (1, 4, 4, 4), {**window, "ceil_mode": False}, stages=(pooling,))

    def limits(peak: float, gbs: float) -> measure.Limits:
        monkeypatch.setattr(kernels, "peak_gflops", lambda *_: peak)
        return measure.Limits.measured([pool], "avx2", 1, lambda _level, _threads: gbs)

    found = limits(3.0, 10.0).highest(limits(2.0, 20.0)).to_json()
    assert (found["peak_gflops"], found["bandwidth_gbs"]) == (3.0, 20.0)
    assert found["roofline_secs"] == pytest.approx(pooling.bytes / 20e9)


@pytest.mark.tvm
def test_the_written_model_has_the_same_workloads(tmp_path: Path) -> None:
    expected = [layer.workload for layer in built().layers]
    file = tmp_path / "model.onnx"
    assert command.main([MODEL, "--onnx", str(file)]) == 0
    onnx.checker.check_model(onnx.load(file))
    assert [layer.workload for layer in compiler.build(file, threads=1).layers] == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-model", "--json", "x"], "invalid choice: 'no-such-model'"),
        ([MODEL], "one of the arguments --json --onnx is required"),
        ([MODEL, "--json", "x", "--threads", "0"], "argument --threads: '0' is not a whole number of 1 or more"),
        ([MODEL, "--json", "x", "--duration", "-1"], "argument --duration: '-1' is not a number of seconds above 0"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_invalid_records(tmp_path: Path) -> None:
    if reason := models.missing(MODEL):
        pytest.skip(reason)
    (tmp_path / "r.sqlite").write_text("no database at all, but long enough for its header" * 9)
    command = [
        sys.executable,
        "-m",
        "benchmarks.whole_models",
        MODEL,
        "--json",
        "x",
        "--records",
        "r.sqlite",
    ]
    environment = {"PYTHONPATH": str(isolated.ROOT)}
    process = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "r.sqlite: it is not a records file" in process.stderr
    assert "Traceback" not in process.stderr


def answer(value: float) -> Mapping[str, np.ndarray]:
    return {"y": np.array([value, 2.0], np.float32)}


def test_an_answer_is_allowed_to_be_rounded() -> None:
    assert check("another", answer(1.0001), answer(1)) == pytest.approx(0.00005, rel=1e-3)


@pytest.mark.parametrize("wrong", [1.001, np.nan, np.inf])
def test_a_wrong_answer(wrong: float) -> None:
    with pytest.raises(WrongAnswerError, match=r"(^another |the answer of another )"):
        check("another", answer(wrong), answer(1))
