"""Another process that keeps one core busy: ``python -m benchmarks.scaling.neighbor CORE BUSY_MS IDLE_MS``.

It computes for BUSY_MS, sleeps for IDLE_MS, and so on, until it is terminated or its parent ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from compiler.measure.isolated import ROOT


@contextmanager
def neighbor(core: int, busy_ms: float, idle_ms: float) -> Iterator[None]:
    """Runs such a process during the block.

    Raises:
        RuntimeError: it did not start.
    """
    command = [sys.executable, "-m", "benchmarks.scaling.neighbor", str(core), str(busy_ms), str(idle_ms)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != b"busy\n":
            raise RuntimeError(f"the process that keeps core {core} busy did not start")
        yield
    finally:
        process.terminate()
        process.communicate()


def main(core: int, busy_secs: float, idle_secs: float) -> None:
    os.sched_setaffinity(0, [core])
    parent = os.getppid()
    print("busy", flush=True)
    while os.getppid() == parent:
        end = time.perf_counter() + busy_secs
        while time.perf_counter() < end:
            pass
        if idle_secs:
            time.sleep(idle_secs)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) / 1e3, float(sys.argv[3]) / 1e3)
