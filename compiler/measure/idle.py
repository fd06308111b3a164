"""Idle detection: when a measurement may start, and how busy other processes were while it ran."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

LIMIT_SECS = 2.0  # far above the spinning of any known pool
PAUSE_SECS = 0.05  # where the states of threads are not available
_TASKS = Path("/proc/self/task")


def wait_until_idle(limit_secs: float = LIMIT_SECS) -> None:
    """Returns when every other thread of this process sleeps.

    Thread pools spin for some milliseconds after their last work, libgomp for about ten by default. The states of the
    threads show it at once. The CPU time of the process does not, because the system adds up the time of a running
    thread only every few milliseconds. A system without /proc gets a pause of ``PAUSE_SECS`` instead.

    Raises:
        TimeoutError: the threads do not sleep within ``limit_secs``, for example under ``OMP_WAIT_POLICY=active``.
    """
    if not _TASKS.is_dir():
        time.sleep(PAUSE_SECS)
        return
    deadline = time.monotonic() + limit_secs
    while time.monotonic() < deadline:
        time.sleep(0.001)
        if not _other_threads_run():
            return
    raise TimeoutError(f"threads of this process kept spinning for {limit_secs} s; unset OMP_WAIT_POLICY")


def _other_threads_run() -> bool:
    """Returns whether another thread of this process is running or ready to run: state R in /proc, see proc(5)."""
    own = str(threading.get_native_id())
    for task in _TASKS.iterdir():
        with suppress(OSError):  # a thread that has ended
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            if task.name != own and state == "R":
                return True
    return False


class OthersWatch:
    """Measures, from its construction on, how many cores other processes keep busy.

    This includes other virtual machines on the same cores.
    """

    def __init__(self) -> None:
        self._start, self._before = time.monotonic(), _others_cpu_secs()

    def busy_cores(self) -> float:
        """Returns the average number of cores since the start."""
        return max(0.0, (_others_cpu_secs() - self._before) / (time.monotonic() - self._start))


def _others_cpu_secs() -> float:
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + times.irq + times.softirq + times.steal - time.process_time()
