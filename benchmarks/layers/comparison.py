"""The comparison of one layer: speeds, their limit, and ratios with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import summary
from benchmarks.peers import PEERS
from compiler.measure.comparison import Ratio, speedup
from compiler.measure.levels import Level
from compiler.measure.roofline import Roofline, Traffic
from compiler.measure.sampling import Samples
from compiler.workloads.workload import Workload

PEER = next(iter(PEERS))


@dataclass(frozen=True)
class Comparison:
    """One shape on one number of threads.

    Attributes:
        occurrences: how often the layer occurs in each network.
        secs: the median seconds per run, by implementation.
        limit_gflops: the roofline in the unit of ``gflops``.
        peak_gflops: FMA peak of all threads together.
        memory_bound: whether a bandwidth is the limit.
        slowest_level: the level of the memory whose part of the data takes longest.
        fraction_of_roofline: the limit divided by our median. The limits are the best of all measured ones, so on a
            noisy machine this depends on the noise as much as on the kernel.
        best_fraction_of_roofline: the limit divided by our best sample.
        ratios: the speedup of our best schedule over each baseline.
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
    slowest_level: Level
    fraction_of_roofline: float
    best_fraction_of_roofline: float
    ratios: Mapping[str, Ratio]

    @property
    def ours(self) -> str:
        return summary.ours(self.secs)

    @property
    def unit(self) -> str:
        return "GFLOP/s" if self.workload.flops else "GB/s"

    @property
    def gflops(self) -> dict[str, float]:
        """The speed of each implementation; in GB/s for an operator that only moves data."""
        work = self.workload.flops or self.workload.bytes
        return {name: work / secs * 1e-9 for name, secs in self.secs.items()}

    @property
    def default_of_tuned(self) -> float | None:
        """The speed of the default schedule as a fraction of the tuned one's; None if nothing is tuned."""
        return self.secs["tuned"] / self.secs["default"] if "tuned" in self.secs else None


def compare(result: Mapping[str, Any], peak_gflops: float) -> Comparison:
    """Compares the samples of a result of ``benchmarks.layers.measure``, with the peak of its threads and type."""
    workload = Workload.from_json(result["workload"])
    samples = {name: samples_of(measured["secs"]) for name, measured in result["implementations"].items()}
    mine = samples[summary.ours(samples)]
    traffic = tuple(Traffic(**part) for part in result["traffic"])
    roofline = Roofline(result["threads"], workload.flops, peak_gflops, traffic)
    return Comparison(
        group=result["group"],
        shape=result["shape"],
        workload=workload,
        occurrences=result["occurrences"],
        threads=result["threads"],
        secs={name: of_one.latencies.median for name, of_one in samples.items()},
        limit_gflops=(workload.flops or workload.bytes) / roofline.secs * 1e-9,
        peak_gflops=peak_gflops,
        fraction_of_roofline=roofline.secs / mine.latencies.median,
        best_fraction_of_roofline=roofline.secs / mine.latencies.min,
        memory_bound=roofline.memory_bound,
        slowest_level=roofline.slowest.level,
        ratios={name: speedup(mine, of_one) for name, of_one in samples.items() if name in PEERS},
    )


def compare_all(results: Sequence[Mapping[str, Any]]) -> list[Comparison]:
    """Compares each result with the highest peak of its threads and type, because noise only lowers a measured peak."""
    peaks = _peaks(results)
    return [compare(result, peaks[_kind(result)]) for result in results]


def compare_last(results: Sequence[Mapping[str, Any]]) -> Comparison:
    """Compares the last result with the highest peak so far of its threads and type."""
    return compare(results[-1], _peaks(results)[_kind(results[-1])])


def _kind(result: Mapping[str, Any]) -> tuple[int, str]:
    return result["threads"], result["workload"]["dtype"]


def _peaks(results: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], float]:
    peaks: dict[tuple[int, str], float] = {}
    for result in results:
        peaks[_kind(result)] = max(peaks.get(_kind(result), 0.0), result["peak_gflops"])
    return peaks


def samples_of(secs: Sequence[float]) -> Samples:
    """Returns samples of rounds with one sample each."""
    return Samples(tuple((of_round,) for of_round in secs))
