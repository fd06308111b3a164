"""The report of whole models: its text, its files and its warnings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.whole_models import report as model_report
from benchmarks.whole_models.comparison import compare
from tests.benchmarks.whole_models.test_comparison import result

SLOW = {"default": 0.004, "onnxruntime": 0.006, "openvino": 0.003}
FAST = {"default": 0.002, "tuned": 0.001, "onnxruntime": 0.004, "openvino": 0.006, "ncnn": 0.008}


def test_files_keep_the_samples(tmp_path: Path) -> None:
    results = [result(SLOW), result(FAST, "b-net", chosen=1), result(SLOW, threads=2)]
    files = model_report.write(results, tmp_path / "new folder")
    assert [file.name for file in files] == ["models.json", "models.png"]
    written = json.loads(files[0].read_text())
    assert written["results"] == results
    assert [of_threads["threads"] for of_threads in written["summary"]] == [1, 2]
    assert [model["model"] for model in written["summary"][0]["models"]] == ["a-net", "b-net"]
    assert files[1].read_bytes().startswith(b"\x89PNG")


def test_summary_is_against_the_fastest_peer_and_against_each() -> None:
    against = model_report.summary([compare(result(SLOW)), compare(result(FAST, "b-net"))])["against"]
    assert against["fastest peer"]["geometric_mean"] == pytest.approx((0.75 * 4) ** 0.5)
    assert against["fastest peer"]["least_ratio"] == pytest.approx(0.75)
    assert against["fastest peer"]["least_ratio_model"] == "a-net"
    assert against["openvino"]["geometric_mean"] == pytest.approx((0.75 * 6) ** 0.5)
    assert against["ncnn"]["models"] == 1


def test_text_names_machine_peers_pinning_and_what_is_missing() -> None:
    slow = result(SLOW) | {"skipped": {"ncnn": "ncnn has no layer X"}, "cores_busy_with_others": 0.7}
    text = "\n".join(model_report.lines([slow, result(FAST, "b-net", chosen=1)]))
    for expected in (
        "a CPU",
        "openvino: 7",
        "ncnn: skipped, ncnn has no layer X (a-net)",
        "1 thread, process pinned to core 0; FMA peak 100.0 GFLOP/s",
        "NOT QUIET, other processes kept more than 0.1 cores busy, during: a-net",
        "not tuned, no records: a-net; to tune a-net: commands that tune",
        "2 of 3, 1 chosen",
        "ours / fastest peer: geometric mean 1.732 over 2 models, least 0.750 (a-net)",
        "tuned / default: geometric mean 2.000 over 1 model",
    ):
        assert expected in text
    heading = next(line for line in text.splitlines() if line.startswith("model "))
    assert heading.index("default") < heading.index("tuned") < heading.index("onnxruntime") < heading.index("ncnn")


def test_ours_alone_are_a_table_too(tmp_path: Path) -> None:
    results = [result({"default": 0.002})]
    text = "\n".join(model_report.lines(results))
    assert "a-net" in text
    assert "geometric mean" not in text
    assert len(model_report.write(results, tmp_path)) == 2


def test_untuned_models_are_named_unless_only_default_schedules_were_chosen() -> None:
    untuned = result({"default": 0.001, "onnxruntime": 0.002})
    assert "not tuned, no records: a-net; to tune a-net: commands that tune" in "\n".join(model_report.lines([untuned]))
    assert "not tuned" not in "\n".join(model_report.lines([untuned | {"how_to_tune": None}]))
