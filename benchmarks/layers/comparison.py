"""What the samples of one measurement say: speeds, their limit, and ratios with their spread."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import PEERS
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.sampling import Samples
from compiler.workloads.workload import Workload

PEER = next(iter(PEERS))


@dataclass(frozen=True)
class Comparison:
    """One shape on one thread count.

    Attributes:
        occurrences: how often the layer is in each network.
        secs: by contender, the median seconds a run.
        limit_gflops: the roofline: the FMA peak, or what the bandwidths of its traffic allow where that is less.
        peak_gflops: of all threads together.
        memory_bound: whether the bandwidth is the limit.
        fraction_of_roofline: by our median. The limits are the best that was seen of them, so on a noisy machine this
            says as much of the noise as of the kernel.
        best_fraction_of_roofline: by our best sample: best against best.
        ratios: our best schedule against each peer, above one where ours is faster.
    """

    group: str
    shape: str
    workload: Workload
    occurrences: Mapping[str, int]
    threads: int
    secs: Mapping[str, float]
    limit_gflops: float
    peak_gflops: float
    memory_bound: bool
    fraction_of_roofline: float
    best_fraction_of_roofline: float
    ratios: Mapping[str, Ratio]

    @property
    def ours(self) -> str:
        return ours(self.secs)

    @property
    def unit(self) -> str:
        return "GFLOP/s" if self.workload.flops else "GB/s"

    @property
    def gflops(self) -> dict[str, float]:
        """By contender; GB/s of an operator that only moves bytes."""
        work = self.workload.flops or self.workload.bytes
        return {name: work / secs * 1e-9 for name, secs in self.secs.items()}

    @property
    def default_of_tuned(self) -> float | None:
        """Speed of the default schedule as a fraction of the tuned one's; None where nothing was tuned."""
        return self.secs["tuned"] / self.secs["default"] if "tuned" in self.secs else None


def compare(result: Mapping[str, Any], peak_gflops: float) -> Comparison:
    """Reads what ``benchmarks.layers.measure`` wrote. ``peak_gflops`` is of as many threads and the type of the result."""
    workload = Workload.from_json(result["workload"])
    secs = {name: contender["secs"] for name, contender in result["contenders"].items()}
    mine = ours(secs)
    arithmetic_secs = workload.flops / (peak_gflops * 1e9)
    memory_secs = max(part["bytes"] / (part["gbs"] * 1e9) for part in result["traffic"])
    limit_secs = max(arithmetic_secs, memory_secs)
    work = workload.flops or workload.bytes
    return Comparison(
        group=result["group"],
        shape=result["shape"],
        workload=workload,
        occurrences=result["occurrences"],
        threads=result["threads"],
        secs={name: float(np.median(samples)) for name, samples in secs.items()},
        limit_gflops=work / limit_secs * 1e-9,
        peak_gflops=peak_gflops,
        fraction_of_roofline=limit_secs / float(np.median(secs[mine])),
        best_fraction_of_roofline=limit_secs / min(secs[mine]),
        memory_bound=memory_secs > arithmetic_secs,
        ratios={name: speedup(samples_of(secs[mine]), samples_of(secs[name])) for name in secs if name in PEERS},
    )


def compare_all(results: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Compares each result with the highest peak of its threads and type: noise only ever lowers a measured peak."""
    peaks: dict[tuple[int, str], float] = {}
    for result in results:
        kind = result["threads"], result["workload"]["dtype"]
        peaks[kind] = max(peaks.get(kind, 0.0), result["peak_gflops"])
    return [compare(result, peaks[result["threads"], result["workload"]["dtype"]]) for result in results]


def ours(contenders: Iterable[str]) -> str:
    """Which of our contenders is compared: the tuned one, the default where nothing was tuned."""
    return "tuned" if "tuned" in contenders else "default"


def samples_of(secs: Sequence[float]) -> Samples:
    """Rounds of one sample each."""
    return Samples(tuple((of_round,) for of_round in secs))


def geometric_mean(values: Iterable[float]) -> float:
    logarithms = [math.log(value) for value in values]
    return math.exp(sum(logarithms) / len(logarithms))
