"""The CPU, and the two limits of its roofline, measured with the instructions of the kernels."""

from __future__ import annotations

import numpy as np

from kernels import _native

# For machines without a known size of the last-level cache: larger than most caches, and quick to read.
_MIN_MEMORY_WORKING_SET = 256 << 20


def available_isas() -> tuple[str, ...]:
    """Returns the ISAs that this CPU and its operating system support, best first; the last is ``"reference"``."""
    return _native.available_isas()


def detect_isa() -> str:
    """Returns the best ISA of this CPU with kernels."""
    return available_isas()[0]


def available_dtypes(isa: str | None = None) -> tuple[str, ...]:
    """Returns the data types of layers of ``isa`` (None: the best).

    Raises:
        ValueError: the ISA is unknown, or this CPU lacks it.
    """
    return _native.available_dtypes(isa)


def multiplies_bfloat16(isa: str | None = None) -> bool:
    """Returns whether the kernels of ``isa`` (None: the best) have instructions for products of bfloat16 (AVX512_BF16).

    Without them, bfloat16 is converted to float32 in registers.

    Raises:
        ValueError: the ISA is unknown, or this CPU lacks it.
    """
    return _native.multiplies_bfloat16(isa)


def cpu_name() -> str:
    return _native.cpu_name()


def cache_bytes() -> tuple[int, int, int]:
    """Returns the bytes of the L1 data, L2 and L3 cache of one core; 0 for a level of unknown size."""
    return _native.cache_bytes()


def peak_gflops(isa: str | None = None, threads: int = 1, dtype: str = "float32") -> float:
    """Measures the FMA peak of ``threads`` threads together, in 1e9 operations per second (an FMA is two); takes 0.1 s.

    Raises:
        ValueError: the ISA or dtype is unknown, this CPU lacks it, or ``threads`` is below 1.
    """
    return _native.peak_gflops(isa, threads, dtype)


def distribute(array: np.ndarray, threads: int = 1) -> None:
    """Loads an array into the caches as if a layer had just written it: each of ``threads`` threads has an equal part.

    This is for measurements: in a network, the previous layer leaves its output in the caches of the cores.

    Raises:
        ValueError: the array is not contiguous or not writable.
    """
    _native.distribute(array, threads)


def evict(array: np.ndarray, threads: int = 1) -> None:
    """Evicts a contiguous array from all caches, with ``threads`` threads. This is for measurements with cold data.

    Raises:
        ValueError: the array is not contiguous, or ``threads`` is below 1.
    """
    _native.evict(array, threads)


def memory_bandwidth(threads: int = 1, working_set_bytes: int | None = None) -> float:
    """Measures the bandwidth of ``threads`` threads that read a buffer repeatedly, in 1e9 bytes per second.

    ``working_set_bytes`` is the size of the buffer. A buffer that fits a cache measures that cache, which is the limit
    of a workload with hot data. The default exceeds every cache and measures main memory.

    Raises:
        ValueError: a number is below 1.
        MemoryError: the buffer does not fit.
    """
    if working_set_bytes is None:
        working_set_bytes = max(_MIN_MEMORY_WORKING_SET, 4 * cache_bytes()[2])
    return _native.memory_bandwidth(threads, working_set_bytes)
