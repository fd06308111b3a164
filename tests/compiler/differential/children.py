"""Runs a task over many items in forked processes, so that an item that ends its process is a result like any other.

A process computes items one after the other and writes each result to a pipe. If it ends early, its current item gets
``Died``, and another process continues behind it. Fork copies the modules that the parent has loaded, which makes a
process cheap, but also its locks: the parent must not run a thread pool.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_ATTEMPTS = 3
_CHUNK = 1 << 16  # bytes per read of a pipe


@dataclass(frozen=True)
class Died:
    """The process ended without a result.

    Attributes:
        phase: what the task last reported to do.
        how: the name of the signal, "exit code N", or "no answer in N s".
    """

    phase: str
    how: str


def results(
    task: Callable[[Item, Callable[[str], None]], Any],
    items: Sequence[Item],
    limit_secs: float = 120.0,
    per_process: int = 200,
    errors: str = os.devnull,
) -> list[Any]:
    """Returns the task's result of each item, or ``Died``.

    Args:
        task: takes an item and a function that reports the current phase. Its result must be picklable.
        items: any values; they need not be picklable.
        limit_secs: a process whose item takes longer is killed.
        per_process: number of items after which a new process is forked, which bounds the memory.
        errors: the file to which the processes append what they print on stderr.
    """
    found: list[Any] = []
    while len(found) < len(items):
        start = len(found)
        some = items[start : start + per_process]
        found += _one_process(task, some, limit_secs, errors)
    return found


def in_workers(
    task: Callable[[Item], Result], items: Sequence[Item], jobs: int, initializer: Callable[[], None]
) -> Iterator[Result]:
    """Yields the task's result of each item in order, computed by ``jobs`` worker processes.

    Workers are spawned, so they have no threads of this process and may fork. If a worker ends, which ``results``
    should prevent, its items are computed again.

    Raises:
        BrokenProcessPool: workers end repeatedly.
    """
    done = attempts = 0
    while done < len(items):
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer) as pool:
            futures = [pool.submit(task, item) for item in items[done:]]
            try:
                for future in futures:
                    yield future.result()
                    done, attempts = done + 1, 0
            except BrokenProcessPool:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise


def _one_process(task: Callable[..., Any], items: Sequence[Any], limit_secs: float, errors: str) -> list[Any]:
    """Returns the results up to the first item that ended the process, at least one."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        os.close(reader)
        _child(task, items, writer, errors)
    os.close(writer)
    found: list[Any] = []
    phase, killed, buffer = "start", False, b""
    deadline = time.monotonic() + limit_secs
    while True:
        ready, _, _ = select.select([reader], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            killed = True
            break
        chunk = os.read(reader, _CHUNK)
        if not chunk:
            break
        buffer += chunk
        while len(buffer) >= 8 and len(buffer) >= 8 + (size := int.from_bytes(buffer[:8], "little")):
            kind, value = pickle.loads(buffer[8 : 8 + size])  # noqa: S301 - written by the child below
            buffer = buffer[8 + size :]
            if kind == "phase":
                phase = value
            else:
                found.append(value)
                phase = "start"
                deadline = time.monotonic() + limit_secs
    os.close(reader)
    status = os.waitpid(pid, 0)[1]
    if len(found) < len(items):
        found.append(Died(phase, f"no answer in {limit_secs:g} s" if killed else _ending(status)))
    return found


def _child(task: Callable[..., Any], items: Sequence[Any], writer: int, errors: str) -> None:
    """Writes the results, and exits without the parent's handlers. Other output of the task is dropped."""
    code = 1
    with contextlib.suppress(BaseException):
        # pytest's ``faulthandler`` would print the parent's stack.
        import faulthandler

        faulthandler.disable()
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        for item in items:
            _write(writer, ("result", task(item, lambda name: _write(writer, ("phase", name)))))
        code = 0
    os._exit(code)


def _write(writer: int, value: Any) -> None:
    data = pickle.dumps(value)
    data = len(data).to_bytes(8, "little") + data
    while data:
        data = data[os.write(writer, data) :]


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return f"exit code {os.waitstatus_to_exitcode(status)}"
