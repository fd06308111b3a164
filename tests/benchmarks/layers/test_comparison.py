"""Speeds, ratios and limits from samples whose results can be computed by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.layers.comparison import PEER, compare_all
from compiler.workloads.workload import Workload


def result(
    secs: Mapping[str, list[float]],
    threads: int = 1,
    peak: float = 100.0,
    bandwidth: float = 10.0,
    group: str = "dense",
    batch: int = 1,
    dtype: str = "float32",
) -> dict[str, Any]:
    """A result of ``benchmarks.layers.measure`` for a layer of 2e6 operations and 120,000 bytes."""
    return {
        "group": group,
        "batch": batch,
        "shape": "square",
        "occurrences": {"network": 3},
        "workload": Workload.dense(100, 100, 100, dtype).to_json(),
        "threads": threads,
        "cores": list(range(threads)),
        "cpu": "a CPU",
        "isa": "avx2",
        "peak_gflops": peak,
        "copies": 1,
        "traffic": [{"bytes": 120_000, "gbs": bandwidth, "level": "L2"}],
        "cores_busy_with_others": 0.0,
        "versions": {},
        "skipped": {},
        "implementations": {name: {"description": "", "secs": samples} for name, samples in secs.items()},
    }


def test_speed_and_roofline() -> None:
    (comparison,) = compare_all([result({"default": [0.0005, 0.001, 0.5], PEER: [0.002] * 3})])
    assert comparison.gflops == {"default": pytest.approx(2), PEER: pytest.approx(1)}
    assert comparison.ratios[PEER].value == 2
    assert comparison.limit_gflops == pytest.approx(100)
    assert comparison.fraction_of_roofline == pytest.approx(0.02)
    assert comparison.best_fraction_of_roofline == pytest.approx(0.04)
    assert not comparison.memory_bound


def test_slow_memory_is_the_limit() -> None:
    (comparison,) = compare_all([result({"default": [0.001]}, bandwidth=1.2)])
    # 3 x 100 x 100 floats at 1.2 GB/s take 0.1 ms; 2e6 operations in that time are 20 GFLOP/s.
    assert comparison.limit_gflops == pytest.approx(20)
    assert (comparison.memory_bound, comparison.slowest_level) == (True, "L2")


def test_cold_weights_can_be_the_limit() -> None:
    measured = result({"default": [0.001]})
    measured["traffic"] = [
        {"bytes": 80_000, "gbs": 100.0, "level": "L2"},
        {"bytes": 40_000, "gbs": 1.0, "level": "memory"},
    ]
    (comparison,) = compare_all([measured])
    assert comparison.limit_gflops == pytest.approx(50)  # 40 µs for 2e6 operations
    assert (comparison.memory_bound, comparison.slowest_level) == (True, "memory")


def test_operators_that_only_move_data_have_speeds_in_gb_per_second() -> None:
    measured = result({"default": [0.0001]})
    measured |= {"workload": Workload("add", (100, 100)).to_json()}
    (comparison,) = compare_all([measured])
    assert comparison.gflops == {"default": pytest.approx(1.2)}  # 120,000 bytes in 0.1 ms
    assert comparison.limit_gflops == pytest.approx(10)
    assert comparison.memory_bound


def test_the_tuned_schedule_is_compared_if_it_exists() -> None:
    (comparison,) = compare_all([result({"default": [0.004], "tuned": [0.001], PEER: [0.003]})])
    assert comparison.ours == "tuned"
    assert comparison.ratios[PEER].value == pytest.approx(3)
    assert comparison.default_of_tuned == pytest.approx(0.25)


def test_peak_is_the_highest_of_the_same_thread_count_and_type() -> None:
    secs = {"default": [1.0]}
    results = [result(secs, peak=90), result(secs, peak=100), result(secs, threads=2, peak=150)]
    results.append(result(secs, peak=200, dtype="bfloat16"))
    assert [comparison.peak_gflops for comparison in compare_all(results)] == [100, 100, 150, 200]
