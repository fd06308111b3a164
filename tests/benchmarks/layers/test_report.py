"""The report of layers: its text, its files and its warnings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.layers import report
from benchmarks.layers.comparison import PEER, compare_all
from tests.benchmarks.layers.test_comparison import result


def test_files_keep_the_raw_samples(tmp_path: Path) -> None:
    results = [result({"default": [0.001, 0.003], PEER: [0.002, 0.002]}), result({"default": [0.001]}, threads=2)]
    report.write(results, tmp_path / "new folder")
    written = json.loads((tmp_path / "new folder" / "dense.json").read_text())
    assert written["results"] == results
    assert [(row["threads"], row["geometric_mean"]) for row in written["summary"]] == [(1, pytest.approx(1)), (2, None)]
    assert (tmp_path / "new folder" / "dense.png").read_bytes().startswith(b"\x89PNG")


def test_each_group_and_batch_has_its_files(tmp_path: Path) -> None:
    secs = {"default": [0.001]}
    results = [result(secs), result(secs, group="conv3x3"), result(secs, group="conv3x3", batch=8)]
    files = report.write(results, tmp_path)
    names = ["dense", "conv3x3", "conv3x3-batch8"]
    assert [file.name for file in files] == [f"{name}{suffix}" for name in names for suffix in (".json", ".png")]
    assert all(file.exists() for file in files)
    text = "\n".join(report.lines(results))
    assert (
        "== conv3x3-batch8: Convolutions 3x3, float32, packed weights from memory, activations from the cache" in text
    )


def test_a_network_takes_each_layer_as_often_as_it_occurs() -> None:
    row = report.summary(compare_all([result({"default": [0.002], "tuned": [0.001], PEER: [0.004]})]))
    assert row["network_secs"] == {"network": {"ours": pytest.approx(0.003), PEER: pytest.approx(0.012)}}
    assert row["default_of_tuned"] == pytest.approx(0.5)


def test_text_names_machine_peers_and_pinning() -> None:
    measured = result({"default": [0.001], PEER: [0.002]})
    measured |= {"versions": {PEER: "version 7"}, "skipped": {"torch": "torch is not installed"}}
    text = "\n".join(report.lines([measured]))
    for expected in (
        "a CPU",
        "version 7",
        "torch: skipped, torch is not installed (everywhere)",
        "pinned to core 0",
        "1 thread,",
    ):
        assert expected in text
    assert f"default / {PEER}: geometric mean 2.000 over 1 shapes, least 2.000 (square)" in text
    assert "NOT QUIET" not in text


def test_a_busy_machine_is_reported() -> None:
    measured = result({"default": [0.001]}) | {"cores_busy_with_others": 0.7}
    text = "\n".join(report.lines([measured]))
    assert "NOT QUIET, other processes kept more than 0.1 cores busy, during: square" in text


def test_without_the_peer_there_is_still_a_table() -> None:
    text = "\n".join(report.lines([result({"default": [0.001]})]))
    assert "square" in text
    assert "geometric mean" not in text
