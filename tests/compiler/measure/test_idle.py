"""The wait for other threads to sleep."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path

import pytest

from compiler.measure import idle

needs_proc = pytest.mark.skipif(not idle._TASKS.is_dir(), reason="this system has no /proc")


class Computing:
    """Another thread that computes for the duration of one native call, without the GIL."""

    def __init__(self, iterations: int) -> None:
        self.end = 0.0
        self._iterations = iterations
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._compute)

    def _compute(self) -> None:
        self._started.set()
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", self._iterations)
        self.end = time.monotonic()

    def __enter__(self) -> Computing:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()


@needs_proc
def test_threads_that_do_not_sleep_are_an_error() -> None:
    with Computing(2_000_000), pytest.raises(TimeoutError, match=r"kept spinning for 0.05 s; unset OMP_WAIT_POLICY"):
        idle.wait_until_idle(0.05)


@needs_proc
def test_the_wait_ends_when_the_threads_sleep() -> None:
    with Computing(100_000) as other:
        idle.wait_until_idle(60.0)
        waited_until = time.monotonic()
    assert waited_until >= other.end - 0.02


def test_a_system_without_proc_gets_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "_TASKS", tmp_path / "none")
    start = time.monotonic()
    idle.wait_until_idle()
    assert time.monotonic() - start >= idle.PAUSE_SECS


def test_busy_cores_are_not_negative() -> None:
    assert idle.OthersWatch().busy_cores() >= 0
