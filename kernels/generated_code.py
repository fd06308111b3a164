"""The kernels' thread pool for machine code that a compiler has generated, by the ABI of TVM's parallel loops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kernels import _native


class GeneratedCodeFunctions(NamedTuple):
    """Addresses of the C functions that generated code calls, with the signatures of TVM's functions of these names."""

    parallel_launch: int
    parallel_barrier: int


def generated_code_functions() -> GeneratedCodeFunctions:
    """What to hand to generated code for its parallel loops to run on the pool."""
    return GeneratedCodeFunctions(*_native.generated_code_functions())


def set_failure_reasons(take: int, put: int, release: int) -> None:
    """Addresses of the C functions by which the reason of a failed task comes from its thread to the caller's.

    ``void take(void**)`` takes it from the calling thread, ``void put(void*)`` leaves it there and
    ``int release(void*)`` gives up what ``take`` has taken. To be called before any code runs that may fail.
    """
    _native.set_failure_reasons(take, put, release)


@contextmanager
def generated_code_threads(threads: int) -> Iterator[None]:
    """Inside, parallel loops that this thread starts use up to ``threads`` threads; outside, one a CPU.

    Raises:
        ValueError: ``threads`` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    before = _native.set_generated_code_threads(threads)
    try:
        yield
    finally:
        _native.set_generated_code_threads(before)
