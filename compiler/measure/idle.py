"""When a measurement may begin, and how much of the machine others had meanwhile."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil


def wait_until_idle(limit_secs: float = 2.0) -> None:
    """Returns once every other thread of this process has been asleep for a while.

    Thread pools spin for some milliseconds after their last work: libgomp about ten, by default. The states of the
    threads tell. The process's CPU time does not: a running thread's is added up only every few milliseconds.

    Raises:
        TimeoutError: they never stop, as under ``OMP_WAIT_POLICY=active``.
    """
    deadline = time.monotonic() + limit_secs
    while time.monotonic() < deadline:
        time.sleep(0.001)
        if not _other_threads_run():
            return
    raise TimeoutError(f"threads of this process kept spinning for {limit_secs} s; unset OMP_WAIT_POLICY")


def _other_threads_run() -> bool:
    """Whether any other thread of this process is running or wants to (state R in /proc, see proc(5))."""
    own = str(threading.get_native_id())
    for task in Path("/proc/self/task").iterdir():
        state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        if task.name != own and state == "R":
            return True
    return False


class OthersWatch:
    """Counts from now on how many cores other processes, and other virtual machines on these cores, keep busy."""

    def __init__(self) -> None:
        self._start, self._before = time.monotonic(), _others_cpu_secs()

    def busy_cores(self) -> float:
        """On average since the start."""
        return max(0.0, (_others_cpu_secs() - self._before) / (time.monotonic() - self._start))


def _others_cpu_secs() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal - time.process_time()
