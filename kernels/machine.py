"""The machine at hand, and the two roofs of its roofline, measured by the instructions that the kernels use."""

from __future__ import annotations

import numpy as np

from kernels import _native

# For machines that tell no size of their last-level cache: more than most have, and quick to read.
_MIN_MEMORY_WORKING_SET = 256 << 20


def available_isas() -> tuple[str, ...]:
    """What this CPU and its operating system can execute, best first; the last is always ``"reference"``."""
    return _native.available_isas()


def detect_isa() -> str:
    """The best ISA of this CPU that there are kernels for."""
    return available_isas()[0]


def available_dtypes(isa: str | None = None) -> tuple[str, ...]:
    """What ``isa`` (None: the best) multiplies: ``"float32"``, and ``"bfloat16"`` with avx512 on CPUs with AVX512_BF16.

    Raises:
        ValueError: an unknown ISA, or one that this CPU lacks.
    """
    return _native.available_dtypes(isa)


def cpu_name() -> str:
    return _native.cpu_name()


def cache_bytes() -> tuple[int, int, int]:
    """Bytes of the L1 data, L2 and L3 cache that one core can reach; 0 for a level that the system does not tell."""
    return _native.cache_bytes()


def peak_gflops(isa: str | None = None, threads: int = 1, dtype: str = "float32") -> float:
    """Measures the FMA peak: 1e9 floating-point operations a second (an FMA is two), ``threads`` together; 0.1 s.

    Raises:
        ValueError: unknown ISA or dtype, one that this CPU lacks, or ``threads`` below 1.
    """
    return _native.peak_gflops(isa, threads, dtype)


def distribute(array: np.ndarray, threads: int = 1) -> None:
    """Leaves an array in the caches as a layer does that has written it: each of ``threads`` threads has an even part.

    For measuring: a layer's input lies where the one before it left it.

    Raises:
        ValueError: the array is not contiguous, or must not be written.
    """
    _native.distribute(array, threads)


def evict(array: np.ndarray, threads: int = 1) -> None:
    """Puts a contiguous array out of all caches, ``threads`` threads at it together: for measuring with cold data.

    Raises:
        ValueError: the array is not contiguous, or ``threads`` below 1.
    """
    _native.evict(array, threads)


def memory_bandwidth(threads: int = 1, working_set_bytes: int | None = None) -> float:
    """Measures reads: 1e9 bytes a second that ``threads`` together read from a buffer, over and over.

    ``working_set_bytes`` is the buffer's size: one that fits a cache measures that cache, and is the honest roof of a
    workload that runs with hot data. The default misses every cache and measures main memory.

    Raises:
        ValueError: a number below 1.
        MemoryError: the buffer does not fit.
    """
    if working_set_bytes is None:
        working_set_bytes = max(_MIN_MEMORY_WORKING_SET, 4 * cache_bytes()[2])
    return _native.memory_bandwidth(threads, working_set_bytes)
