"""Rooflines from given limits, and from limits that are measured on this CPU."""

from __future__ import annotations

import pytest

import kernels
from compiler.measure.roofline import Roofline, Rooflines, Traffic
from compiler.workloads.workload import Workload

SQUARE = Workload.dense(500, 500, 500)  # 250 MFLOP, 3 MB
CLASSIFIER = Workload.dense(1, 1000, 2000)  # 4 MFLOP, 8.012 MB


def roofline(workload: Workload, peak_gflops: float = 200.0, gbs: float = 50.0) -> Roofline:
    return Roofline(1, workload.flops, peak_gflops, (Traffic(workload.bytes, gbs),))


def test_the_limit_is_the_lower_of_both_roofs() -> None:
    assert roofline(SQUARE).secs == pytest.approx(1.25e-3)
    assert roofline(SQUARE).gflops == pytest.approx(200)
    assert not roofline(SQUARE).memory_bound
    assert roofline(CLASSIFIER).secs == pytest.approx(8.012e6 / 50e9)
    assert roofline(CLASSIFIER).gflops == pytest.approx(4e6 / 8.012e6 * 50)
    assert roofline(CLASSIFIER).memory_bound


def test_the_slowest_part_of_the_traffic_counts() -> None:
    parts = Roofline(1, 0, 100.0, (Traffic(10**9, 100.0), Traffic(10**9, 20.0)))
    assert parts.secs == parts.memory_secs == pytest.approx(0.05)
    assert parts.gflops == 0


def test_the_higher_of_two_measurements_of_each_limit_is_kept() -> None:
    assert roofline(SQUARE, 100.0, 20.0).highest(roofline(SQUARE, 90.0, 30.0)) == roofline(SQUARE, 100.0, 30.0)
    with pytest.raises(ValueError, match="different workloads"):
        roofline(SQUARE).highest(roofline(CLASSIFIER))


def test_limits_are_measured_for_the_working_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "peak_gflops", lambda _isa, threads, dtype: {"float32": 100.0}[dtype] * threads)
    monkeypatch.setattr(kernels, "memory_bandwidth", lambda _threads, size=None: 10.0 if size is None else size * 1e-6)
    hot = Roofline.measured(SQUARE, "avx2", 2)
    assert hot == Roofline(2, SQUARE.flops, 200.0, (Traffic(SQUARE.bytes, 3.0),))
    cold = Roofline.measured(SQUARE, "avx2", 2, cold_bytes=10**6)
    assert cold.traffic == (Traffic(2 * 10**6, 2.0), Traffic(10**6, 10.0))


def test_each_limit_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []
    monkeypatch.setattr(kernels, "peak_gflops", lambda *limits: measured.append(limits) or 100.0)
    monkeypatch.setattr(kernels, "memory_bandwidth", lambda *limits: measured.append(limits) or 10.0)
    rooflines = Rooflines("avx2")
    for workload in (SQUARE, CLASSIFIER, SQUARE):
        assert rooflines.of(workload, 1).secs == roofline(workload, 100.0, 10.0).secs
    assert measured == [("avx2", 1, "float32"), (1, SQUARE.bytes), (1, CLASSIFIER.bytes)]


def test_this_cpu_has_limits() -> None:
    measured = Roofline.measured(Workload.dense(8, 8, 8), "reference", 1)
    assert measured.secs > 0
    assert measured.traffic[0].bytes == Workload.dense(8, 8, 8).bytes
