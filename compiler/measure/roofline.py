"""Rooflines: the least time of a workload by the measured peak and bandwidths of the CPU.

Williams, Waterman, Patterson: Roofline (CACM 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import kernels


class Work(Protocol):
    """The properties of a workload that bound its time."""

    @property
    def flops(self) -> int: ...

    @property
    def bytes(self) -> int: ...

    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True)
class Traffic:
    """Bytes that one run must move, and the bandwidth of the memory that holds them in GB/s (10^9 bytes per second)."""

    bytes: int
    gbs: float

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
        traffic: the data that one run moves, by the memory that holds it. The parts are moved at the same time.
    """

    threads: int
    flops: float
    peak_gflops: float
    traffic: tuple[Traffic, ...]

    @classmethod
    def measured(cls, work: Work, isa: str, threads: int, cold_bytes: int = 0) -> Roofline:
        """Measures the limits now, because the clock of a CPU changes over time.

        The bandwidth is that of a working set of the workload's size, which may fit a cache.

        Args:
            work: the workload.
            isa: the instruction set.
            threads: the number of threads.
            cold_bytes: bytes of the workload that are read from memory even if they fit a cache, such as weights.
        """
        peak = kernels.peak_gflops(isa, threads, work.dtype)
        return cls(threads, work.flops, peak, _traffic(work, threads, cold_bytes))

    @property
    def arithmetic_secs(self) -> float:
        """Seconds of the arithmetic at the peak."""
        return self.flops / (self.peak_gflops * 1e9)

    @property
    def memory_secs(self) -> float:
        """Seconds of the longest part of the traffic."""
        return max(part.secs for part in self.traffic)

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
            ValueError: the rooflines belong to different workloads or numbers of threads.
        """
        moved = [part.bytes for part in self.traffic]
        if (self.threads, self.flops, moved) != (other.threads, other.flops, [part.bytes for part in other.traffic]):
            raise ValueError("the rooflines belong to different workloads or numbers of threads")
        pairs = zip(self.traffic, other.traffic, strict=True)
        return Roofline(
            self.threads,
            self.flops,
            max(self.peak_gflops, other.peak_gflops),
            tuple(max(pair, key=lambda part: part.gbs) for pair in pairs),
        )


class Rooflines:
    """The rooflines of many workloads on one ISA. Each peak and each workload's bandwidth is measured once."""

    def __init__(self, isa: str) -> None:
        self._isa = isa
        self._peaks: dict[tuple[int, str], float] = {}
        self._known: dict[tuple[Work, int], Roofline] = {}

    def of(self, work: Work, threads: int) -> Roofline:
        """Returns the roofline of a workload, which must be hashable, on a number of threads."""
        key, peak = (work, threads), (threads, work.dtype)
        if key not in self._known:
            if peak not in self._peaks:
                self._peaks[peak] = kernels.peak_gflops(self._isa, threads, work.dtype)
            self._known[key] = Roofline(threads, work.flops, self._peaks[peak], _traffic(work, threads, 0))
        return self._known[key]


def _traffic(work: Work, threads: int, cold_bytes: int) -> tuple[Traffic, ...]:
    hot = work.bytes - cold_bytes
    parts = [Traffic(hot, kernels.memory_bandwidth(threads, hot))]
    if cold_bytes:
        parts.append(Traffic(cold_bytes, kernels.memory_bandwidth(threads)))
    return tuple(parts)
