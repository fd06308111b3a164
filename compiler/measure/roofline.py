"""Rooflines: the least time of a workload by the measured peak and bandwidths of the CPU.

Williams, Waterman, Patterson: Roofline (CACM 2009). Ilic, Pratas, Sousa: Cache-aware roofline model (CAL 2014).

Each part of a workload's data has the bandwidth of the level that it comes from:

- A workload that is timed alone, over and over, finds everything in the nearest level that holds all of its data.
- In a network, the previous layer has just written the activations. They are in L2, because they and other data have
  passed through L1; in L3 if they exceed L2; in memory if they exceed L3. Input and output take room together.
- In a network, the weights of a layer are read once per run, and those of all other layers in between. They come from
  the nearest level that holds the weights of all layers, which is memory for most networks.
- L1 and L2 belong to a core, so data that several threads divide fits L2 if the part of one thread does.

Parts from different levels move at the same time, so the longest one counts. Parts from one level share its bandwidth.
Reading determines each bandwidth, and every byte counts once. A real layer is slower than this limit where it writes
(a cache reads a line before it is written), reads a part twice, or shares a level with other data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import kernels
from compiler.measure import levels
from compiler.measure.levels import LEVELS, Bandwidth, Level, holder
from compiler.workloads.layer import Layer


class Work(Protocol):
    """The properties of a workload that bound its time."""

    @property
    def flops(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def weight_bytes(self) -> int: ...

    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True)
class Traffic:
    """Bytes that one run must move, and the level that they come from.

    Attributes:
        bytes: the bytes.
        gbs: the bandwidth of the level in GB/s (10^9 bytes per second).
        level: the level.
    """

    bytes: int
    gbs: float
    level: Level = "memory"

    @property
    def secs(self) -> float:
        return self.bytes / (self.gbs * 1e9)


@dataclass(frozen=True)
class Roofline:
    """The limits of the CPU for one workload.

    Attributes:
        threads: the number of threads that share the work.
        flops: floating-point operations of one run; 0 if it only moves data.
        peak_gflops: FMA peak of all threads together in GFLOP/s.
        traffic: the data that one run moves, by level. The parts are moved at the same time.
    """

    threads: int
    flops: float
    peak_gflops: float
    traffic: tuple[Traffic, ...]

    @classmethod
    def measured(
        cls, work: Work, isa: str, threads: int, weights: Level | None = None, bandwidth: Bandwidth = levels.bandwidth
    ) -> Roofline:
        """Measures the limits now, because the clock of a CPU changes over time.

        Args:
            work: the workload.
            isa: the instruction set.
            threads: the number of threads.
            weights: the level that the weights come from if they are cold, as in a network. None: the workload is run
                over and over, and everything comes from the level that holds all of its data.
            bandwidth: the bandwidth of each level. The default measures each one once per process.
        """
        peak = kernels.peak_gflops(isa, threads, work.dtype)
        sources = warm(work, threads) if weights is None else in_network(work, threads, weights)
        return cls(threads, work.flops, peak, _traffic(sources, threads, bandwidth))

    @property
    def arithmetic_secs(self) -> float:
        """Seconds of the arithmetic at the peak."""
        return self.flops / (self.peak_gflops * 1e9)

    @property
    def slowest(self) -> Traffic:
        """The longest part of the traffic."""
        return max(self.traffic, key=lambda part: part.secs)

    @property
    def memory_secs(self) -> float:
        """Seconds of the longest part of the traffic."""
        return self.slowest.secs

    @property
    def bandwidth_gbs(self) -> float:
        """The highest rate at which all parts together can be moved, in GB/s."""
        return sum(part.bytes for part in self.traffic) / self.memory_secs / 1e9

    @property
    def secs(self) -> float:
        """The least seconds of one run."""
        return max(self.arithmetic_secs, self.memory_secs)

    @property
    def memory_bound(self) -> bool:
        """Whether a bandwidth is the limit."""
        return self.memory_secs > self.arithmetic_secs

    @property
    def gflops(self) -> float:
        """The highest possible speed in GFLOP/s."""
        return self.flops / self.secs / 1e9

    def highest(self, other: Roofline) -> Roofline:
        """Combines two measurements of the same workload. Each limit is the higher one, because noise only lowers it.

        Raises:
            ValueError: the rooflines belong to different workloads, numbers of threads or levels.
        """
        if (self.threads, self.flops, self._moved) != (other.threads, other.flops, other._moved):
            raise ValueError("the rooflines belong to different workloads, numbers of threads or levels")
        pairs = zip(self.traffic, other.traffic, strict=True)
        return Roofline(
            self.threads,
            self.flops,
            max(self.peak_gflops, other.peak_gflops),
            tuple(max(pair, key=lambda part: part.gbs) for pair in pairs),
        )

    @property
    def _moved(self) -> list[tuple[int, Level]]:
        return [(part.bytes, part.level) for part in self.traffic]


class Rooflines:
    """The rooflines of the layers of one model on one ISA, while the model runs over and over.

    Each peak and each bandwidth is measured once.
    """

    def __init__(self, isa: str, layers: Iterable[Layer], bandwidth: Bandwidth = levels.bandwidth) -> None:
        """
        Args:
            isa: the instruction set.
            layers: all layers of the model, whose weights together decide which level holds them.
            bandwidth: the bandwidth of each level. The default measures each one once per process.
        """
        self.weight_bytes = sum(work.weight_bytes for layer in layers for work in layer.workloads)
        self._isa, self._bandwidth = isa, bandwidth
        self._peaks: dict[tuple[int, str], float] = {}

    def peak_gflops(self, threads: int, dtype: str = "float32") -> float:
        if (threads, dtype) not in self._peaks:
            self._peaks[threads, dtype] = kernels.peak_gflops(self._isa, threads, dtype)
        return self._peaks[threads, dtype]

    def weights_level(self, threads: int) -> Level:
        """Returns the level that layers on ``threads`` threads read their weights from."""
        return holder(self.weight_bytes, threads, kernels.cache_bytes())

    def of(self, layer: Layer, threads: int) -> list[Roofline]:
        """Returns the roofline of each workload of a layer, which runs them one after the other.

        Several workloads are the stages of a chain. It computes them slab by slab, in order that the images between
        them stay in L2.
        """
        chained: Level | None = "L2" if len(layer.workloads) > 1 else None
        return [
            Roofline(
                threads,
                work.flops,
                self.peak_gflops(threads, work.dtype),
                _traffic(in_network(work, threads, self.weights_level(threads), chained), threads, self._bandwidth),
            )
            for work in layer.workloads
        ]


def warm(work: Work, threads: int) -> dict[Level, int]:
    """Returns the bytes of a run by level, for a workload that is run over and over."""
    return {holder(work.bytes, threads, kernels.cache_bytes()): work.bytes}


def in_network(work: Work, threads: int, weights: Level, activations: Level | None = None) -> dict[Level, int]:
    """Returns the bytes of a run by level, nearest first, for a workload in a network.

    Args:
        work: the workload.
        threads: the number of threads.
        weights: the level that holds its weights.
        activations: the level that holds inputs and output; None: the nearest one from L2 on that has room for them.
    """
    size = work.bytes - work.weight_bytes
    activations = activations or holder(size, threads, kernels.cache_bytes(), nearest="L2")
    parts = [(activations, size), (weights, work.weight_bytes)]
    used: list[Level] = [level for level in LEVELS if any(level == place and count for place, count in parts)]
    return {level: sum(count for place, count in parts if place == level) for level in used}


def _traffic(sources: dict[Level, int], threads: int, bandwidth: Bandwidth) -> tuple[Traffic, ...]:
    return tuple(Traffic(count, bandwidth(level, threads), level) for level, count in sources.items())
