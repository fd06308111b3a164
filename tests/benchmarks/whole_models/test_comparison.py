"""Latencies and ratios of whole models from samples whose results can be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.whole_models.comparison import compare, milliseconds, rounds_of, samples_of
from compiler.measure.sampling import Samples


def result(secs: Mapping[str, float], model: str = "a-net", threads: int = 1, chosen: int = 0) -> dict[str, Any]:
    """A result of ``benchmarks.whole_models.measure`` in which all runs of an implementation take the same time."""
    return {
        "model": model,
        "title": "A net",
        "batch": 1,
        "threads": threads,
        "cores": list(range(threads)),
        "cpu": "a CPU",
        "isa": "avx2",
        "cores_busy_with_others": 0.0,
        "peak_gflops": 100.0,
        "bandwidth_gbs": 10.0,
        "roofline_secs": 0.001,
        "roofline_layers": 3,
        "kernel_layers": 4,
        "flops": 10**8,
        "stored": {"layers": 3, "measured": 2 * ("tuned" in secs), "chosen": chosen},
        "how_to_tune": "commands that tune",
        "versions": {name: "7" for name in secs if name not in ("default", "tuned")},
        "skipped": {},
        "implementations": {
            name: {"difference": 0.0, "runs": 8, "secs": [[of_one] * 2] * 4} for name, of_one in secs.items()
        },
    }


def test_ours_is_the_tuned_one_if_it_exists() -> None:
    secs = {"default": 0.004, "onnxruntime": 0.006, "openvino": 0.003, "ncnn": 0.008}
    untuned = compare(result(secs))
    assert untuned.ours == "default"
    assert untuned.tuned is None
    assert untuned.fastest_peer == "openvino"
    assert untuned.share_of_roofline == pytest.approx(0.25)
    assert {name: ratio.value for name, ratio in untuned.ratios.items()} == pytest.approx(
        {"onnxruntime": 1.5, "openvino": 0.75, "ncnn": 2}
    )
    tuned = compare(result({**secs, "tuned": 0.002}))
    assert tuned.ours == "tuned"
    assert tuned.tuned is not None
    assert tuned.tuned.value == pytest.approx(2)
    assert tuned.ratios["openvino"].value == pytest.approx(1.5)
    assert tuned.share_of_roofline == pytest.approx(0.5)


def test_json_names_the_fastest_peer_with_its_interval() -> None:
    written = compare(result({"default": 0.002, "onnxruntime": 0.006, "openvino": 0.003})).to_json()
    assert written["fastest_peer"] == "openvino"
    assert written["ratio_to_fastest_peer"] == pytest.approx({"value": 1.5, "low": 1.5, "high": 1.5})
    assert set(written["ratios"]) == {"onnxruntime", "openvino"}
    assert written["median_secs"]["onnxruntime"] == 0.006


def test_without_other_runtimes_there_is_no_fastest_one() -> None:
    alone = compare(result({"default": 0.002}))
    assert alone.fastest_peer is None
    assert alone.to_json()["ratio_to_fastest_peer"] is None


def test_a_result_has_a_limited_number_of_runs_per_round_evenly_spaced() -> None:
    measured = Samples((tuple(run * 1e-6 for run in range(1, 1001)), (0.5,)))
    first, second = rounds_of(measured, most=10)
    assert len(first) == 10
    assert first[0] < 2e-4
    assert first[-1] > 8e-4
    assert second == [0.5]
    assert rounds_of(measured, most=1000) == [list(secs) for secs in samples_of(rounds_of(measured, 1000)).rounds]


@pytest.mark.parametrize(("secs", "text"), [(3.456e-5, "0.0346"), (0.0034567, "3.457"), (0.1234567, "123.46")])
def test_milliseconds(secs: float, text: str) -> None:
    assert milliseconds(secs) == text
