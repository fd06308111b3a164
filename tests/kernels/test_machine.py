"""The properties of the machine that the kernels report, and wrong arguments."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import kernels


def test_distributed_data_is_the_same() -> None:
    array = np.arange(1000, dtype=np.float32)
    kernels.distribute(array[3:], threads=3)
    np.testing.assert_array_equal(array, np.arange(1000))
    with pytest.raises(ValueError, match="contiguous"):
        kernels.distribute(array[::2])
    array.flags.writeable = False
    with pytest.raises(ValueError, match="writeable"):
        kernels.distribute(array)


def test_evicted_data_is_the_same() -> None:
    array = np.arange(1000, dtype=np.float32)
    kernels.evict(array[3:], threads=2)
    np.testing.assert_array_equal(array, np.arange(1000))
    with pytest.raises(ValueError, match="array must be contiguous"):
        kernels.evict(array[::2])


def test_isas_come_best_first_and_end_with_the_reference() -> None:
    isas = kernels.available_isas()
    assert isas[-1] == "reference"
    assert list(isas) == [isa for isa in ("avx512", "avx2", "reference") if isa in isas]
    assert kernels.detect_isa() == isas[0]


def test_isas_are_those_that_the_operating_system_lists() -> None:
    with open("/proc/cpuinfo") as file:
        flags = next(set(line.split(":")[1].split()) for line in file if line.startswith("flags"))
    assert ("avx2" in kernels.available_isas()) == ({"avx2", "fma"} <= flags)
    assert ("avx512" in kernels.available_isas()) <= ({"avx512f", "avx512vl"} <= set(flags))


def test_cpu_name_is_one_line() -> None:
    assert kernels.cpu_name().strip() == kernels.cpu_name()
    assert kernels.cpu_name()


def test_caches_grow_with_their_level() -> None:
    caches = kernels.cache_bytes()
    assert len(caches) == 3
    known = [size for size in caches if size]
    assert known == sorted(known)
    assert all(size >= 1024 for size in known)


@pytest.mark.parametrize("isa", ["avx512", "avx2", "reference"])
@pytest.mark.parametrize("threads", [1, 2])
def test_peak_is_a_rate(isa: str, threads: int) -> None:
    if isa not in kernels.available_isas():
        pytest.skip(f"this CPU has no {isa}")
    assert 0 < kernels.peak_gflops(isa, threads) < 1e6


@pytest.mark.parametrize("working_set", [1, 4096, 1 << 22])
def test_bandwidth_is_a_rate(working_set: int) -> None:
    bandwidth = kernels.memory_bandwidth(2, working_set)
    assert math.isfinite(bandwidth)
    assert bandwidth > 0


# The peak of the resident memory is that of a process since its start, so it is measured in a new one.
_RESIDENT = """
import sys
import kernels

def peak_bytes():
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

before = peak_bytes()
kernels.memory_bandwidth(int(sys.argv[1]), int(sys.argv[2]))
print(peak_bytes() - before)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_bandwidth_is_that_of_written_pages(threads: int) -> None:
    """Pages that nobody has written share one page of zeros. They take no memory, and reading them measures a cache."""
    working_set = 128 << 20
    command = [sys.executable, "-c", _RESIDENT, str(threads), str(working_set)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert int(process.stdout) > 0.9 * working_set


def test_register_tiles_fit_the_registers() -> None:
    """A tile needs mr·nr accumulators and at least one vector of weights in 16 or 32 registers."""
    lanes = {"avx512": 16, "avx2": 8}
    registers = {"avx512": 32, "avx2": 16}
    for isa in kernels.available_isas():
        tiles = kernels.register_tiles(isa)
        assert len(set(tiles)) == len(tiles)
        if isa == "reference":
            assert tiles == []
        else:
            assert tiles
            assert all(nr % lanes[isa] == 0 and mr * nr // lanes[isa] < registers[isa] for mr, nr in tiles)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: kernels.peak_gflops("sse9"), "sse9"),
        (lambda: kernels.peak_gflops(threads=0), "threads must be between 1 and"),
        (lambda: kernels.peak_gflops(dtype="float8"), "unknown dtype 'float8'; choose from: float32, bfloat16"),
        (lambda: kernels.memory_bandwidth(threads=0), "threads must be between 1 and"),
        (lambda: kernels.memory_bandwidth(1, 0), "working_set_bytes must be at least 1"),
        (lambda: kernels.register_tiles("sse9"), "sse9"),
    ],
)
def test_wrong_arguments_are_rejected(attempt: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attempt()
