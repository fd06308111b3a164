"""The worker process of ``autotune.runners.local``: measures schedules one after the other until its parent ends.

Requests and answers are lines of JSON on a separate socket, so output of native code cannot get between them. Every
request is answered, unless a candidate ends the process:

    {"open": {"backend": ..., "workload": ..., "target": ..., "seed": ..., "machine": ...}}
                                                                               -> {"error": null or the reason}
    {"measure": {"schedule": ..., "timing": ..., "best_secs": ...}}            -> {"run_secs": [...], "error": ...}
"""

from __future__ import annotations

import argparse
import fcntl
import importlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.runners.trial import Bench
    from compiler.workloads.schedule import ScheduleSpace


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m autotune.runners.worker", description="Started by autotune.runners.local."
    )
    parser.add_argument("--socket", type=int, required=True, help="file descriptor of the socket to the parent")
    parser.add_argument("--cores", type=int, nargs="+", required=True, help="cores to run on")
    parser.add_argument("--space", required=True, help="module:function(backend, workload, target) -> ScheduleSpace")
    options = parser.parse_args(arguments)
    os.sched_setaffinity(0, options.cores)  # before anything starts a thread, so that all threads inherit it
    _end_with_parent()
    module, _, function = options.space.partition(":")
    service = _Service(getattr(importlib.import_module(module), function))
    requests = {"open": service.open, "measure": service.measure}
    with socket.socket(fileno=options.socket) as connection:
        for line in connection.makefile("r"):
            ((request, fields),) = json.loads(line).items()
            connection.sendall(json.dumps(requests[request](**fields)).encode() + b"\n")


def _end_with_parent() -> None:
    """Makes the operating system end this process and its children when the parent ends, even if a candidate hangs.

    Nothing is ever written to the standard input, so it becomes readable only when its other end closes. The operating
    system then sends SIGIO, which ends a process by default. PR_SET_PDEATHSIG is not used, because it also takes effect
    when only a thread of the parent ends.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(0, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


class _Service:
    """Answers requests. It imports modules that start threads only after the process is pinned."""

    _bench: Bench

    def __init__(self, space: Callable[..., ScheduleSpace]) -> None:
        self._space = space

    def open(
        self,
        backend: str,
        workload: Mapping[str, Any],
        target: Mapping[str, Any],
        seed: int,
        machine: str | None = None,
    ) -> dict[str, Any]:
        """``machine`` is the text of the target's machine model; None for that of this CPU."""
        from autotune.runners.trial import Bench, one_line
        from compiler.workloads.target import Target
        from compiler.workloads.workload import Workload

        try:
            opened = Workload.from_json(workload)
            on = Target.from_json(target).on_machine(machine)
            self._bench = Bench(self._space(backend, opened, on), opened, seed)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            return {"error": one_line(error)}
        return {"error": None}

    def measure(
        self, schedule: Mapping[str, Any], timing: Mapping[str, Any], best_secs: float | None
    ) -> dict[str, Any]:
        from compiler.measure.budgeted import Timing
        from compiler.workloads.schedule import Schedule

        measurement = self._bench.measure(Schedule.from_json(schedule), Timing(**timing), best_secs)
        return {"run_secs": measurement.run_secs, "error": measurement.error}


if __name__ == "__main__":
    main()
