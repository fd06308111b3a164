"""Rooflines from given limits, and from limits that are measured on this CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

import kernels
from compiler.measure.levels import Level
from compiler.measure.roofline import Roofline, Rooflines, Traffic
from compiler.workloads.layer import Layer
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
    from_l3 = Roofline(1, SQUARE.flops, 200.0, (Traffic(SQUARE.bytes, 70.0, "L3"),))
    with pytest.raises(ValueError, match="or levels"):
        roofline(SQUARE).highest(from_l3)


def test_the_rate_of_all_parts_together() -> None:
    parts = Roofline(1, 0, 100.0, (Traffic(3 * 10**9, 100.0, "L3"), Traffic(10**9, 20.0)))
    assert parts.slowest.level == "memory"
    assert parts.bandwidth_gbs == pytest.approx(4 / 0.05)


# Where data comes from, on a CPU with 48 KiB of L1 and 1 MiB of L2 per core and 32 MiB of L3.

BANDWIDTHS: Mapping[Level, float] = {"L1": 400.0, "L2": 150.0, "L3": 70.0, "memory": 30.0}
IMAGE = 112 * 112 * 32 * 4  # 1.6 MB
CONV = Workload.conv2d(1, 112, 112, 32, 32, 1, epilogue=("bias", "residual"))


def bandwidth(level: Level, threads: int) -> float:
    return BANDWIDTHS[level] * threads


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "cache_bytes", lambda: (48 << 10, 1 << 20, 32 << 20))
    monkeypatch.setattr(kernels, "peak_gflops", lambda _isa, threads, dtype: {"float32": 100.0}[dtype] * threads)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("workload", "threads", "weights", "expected"),
    [
        # Alone, over and over: the level that holds everything.
        (Workload.dense(8, 8, 8), 1, None, {"L1": 3 * 64 * 4}),
        (Workload.dense(256, 256, 256), 1, None, {"L2": 3 * 256 * 256 * 4}),
        (Workload.dense(512, 512, 512), 1, None, {"L3": 3 << 20}),
        (Workload.dense(512, 512, 512), 3, None, {"L2": 3 << 20}),
        (Workload.dense(1, 1000, 2048), 1, None, {"L3": 4 * (2048 + 1000 * 2048 + 1000)}),
        (Workload.dense(1, 4096, 4096), 2, None, {"memory": 4 * (4096 + 4096 * 4096 + 4096)}),
        (Workload("add", (3136, 256)), 2, None, {"L3": 3 * 3136 * 256 * 4}),
        # In a network: weights by the level of all weights, activations from L2 on.
        (Workload.dense(8, 8, 8), 1, "memory", {"L2": 2 * 64 * 4, "memory": 64 * 4}),
        (Workload.dense(8, 8, 8), 1, "L2", {"L2": 3 * 64 * 4}),
        (CONV, 1, "memory", {"L3": 3 * IMAGE, "memory": 32 * 32 * 4 + 32 * 4}),
        (CONV, 1, "L3", {"L3": 3 * IMAGE + 32 * 32 * 4 + 32 * 4}),
        (CONV, 5, "memory", {"L2": 3 * IMAGE, "memory": 32 * 32 * 4 + 32 * 4}),
        (Workload("add", (128, 128)), 1, "memory", {"L2": 3 * 128 * 128 * 4}),
        # Activations that exceed every cache share the bandwidth of the memory with the weights.
        (Workload.dense(1 << 20, 8, 8), 1, "memory", {"memory": 4 * (2 * (8 << 20) + 64)}),
    ],
)  # fmt: skip
def test_each_part_comes_from_its_level(
    workload: Workload, threads: int, weights: Level | None, expected: dict[Level, int]
) -> None:
    found = Roofline.measured(workload, "avx2", threads, weights, bandwidth)
    assert found.traffic == tuple(Traffic(size, bandwidth(level, threads), level) for level, size in expected.items())
    assert (found.threads, found.flops, found.peak_gflops) == (threads, workload.flops, 100.0 * threads)


def layer(name: str, *stages: Workload) -> Layer:
    """A layer of these stages; rooflines read nothing else of it."""
    weights = {f"weight{i}": np.zeros(stage.input_shapes["weight"], np.float32) for i, stage in enumerate(stages)}
    return Layer(name, "conv2d_chain", stages[-1].output_shape, {"stages": [{}] * len(stages)}, weights, stages=stages)


@pytest.mark.usefixtures("machine")
def test_weights_come_from_the_level_that_holds_those_of_all_layers() -> None:
    small, large = Workload.conv2d(1, 14, 14, 64, 256, 1), Workload.conv2d(1, 7, 7, 512, 512, 3)
    alone = Rooflines("avx2", [layer("small", small)], bandwidth)
    assert [part.level for part in alone.of(layer("small", small), 1)[0].traffic] == ["L2"]
    for copies, threads, level in ((1, 1, "L3"), (3, 1, "L3"), (4, 1, "memory"), (4, 2, "memory"), (1, 16, "L2")):
        layers = [layer("small", small), *(layer("large", large) for _ in range(copies))]
        model = Rooflines("avx2", layers, bandwidth)
        assert model.weight_bytes == 4 * (64 * 256 + copies * 512 * 512 * 9)
        assert model.weights_level(threads) == level
        (found,) = model.of(layers[0], threads)
        assert {part.level for part in found.traffic} == {"L2", level}
        assert sum(part.bytes for part in found.traffic) == small.bytes


@pytest.mark.usefixtures("machine")
def test_images_between_the_stages_of_a_chain_are_in_l2() -> None:
    wide = Workload.conv2d(1, 112, 112, 16, 96, 1)
    chain = layer("chain", wide, Workload.conv2d(1, 112, 112, 96, 16, 1))
    model = Rooflines("avx2", [chain], bandwidth)
    assert [[part.level for part in found.traffic] for found in model.of(chain, 1)] == [["L1", "L2"], ["L1", "L2"]]
    assert [part.level for part in model.of(layer("alone", wide), 1)[0].traffic] == ["L1", "L3"]


def test_each_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[object] = []
    monkeypatch.setattr(kernels, "peak_gflops", lambda *limits: measured.append(limits) or 100.0)
    one = layer("one", Workload.conv2d(1, 14, 14, 64, 256, 1))
    model = Rooflines("avx2", [one], bandwidth)
    for threads in (1, 2, 1):
        model.of(one, threads)
    assert measured == [("avx2", 1, "float32"), ("avx2", 2, "float32")]


def test_this_cpu_has_limits() -> None:
    work = Workload.dense(8, 8, 8)
    measured = Roofline.measured(work, "reference", 1)
    assert measured.secs > 0
    assert [(part.bytes, part.level) for part in measured.traffic] == [(work.bytes, "L1")]
    cold = Roofline.measured(work, "reference", 1, weights="memory")
    assert [part.level for part in cold.traffic] == ["L2", "memory"]
    assert all(0 < part.gbs < 1e6 for part in cold.traffic)
