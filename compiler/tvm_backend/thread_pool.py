"""Runs the parallel loops of TVM's generated code on the kernels' threads, so that a process has one thread pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compiler.program import native


def share() -> None:
    """Makes all code that is loaded from now on, compiled here or read from a file, use the kernels' threads.

    TVM's FFI resolves the functions that start a parallel loop when it loads the code.

    Raises:
        ImportError: a native library is missing.
    """
    native.function("share_thread_pool")()


@contextmanager
def generated_code_threads(threads: int) -> Iterator[None]:
    """Limits the parallel loops that this thread starts inside the context to ``threads`` threads.

    The default is one thread per CPU.

    Raises:
        ValueError: ``threads`` is below 1.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    set_threads = native.function("set_generated_code_threads")
    before = set_threads(threads)
    try:
        yield
    finally:
        set_threads(before)
