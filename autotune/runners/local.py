"""Measures schedules on this machine, in worker processes.

    with LocalRunner() as runner:
        for measurement in runner.measure(workload, target, "kernel", schedules):
            ...

A worker process is warm and pinned to its cores. It is replaced when a candidate takes it down. It loads TVM once,
which takes seconds. To spend them once, pass one runner to several searches. To spend them in the background, call
``prepare`` early.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from autotune.runners.process import ProcessLostError, WorkerProcess
from compiler.measure import affinity
from compiler.measure.budgeted import Timing
from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

SPACE = "autotune.backends:space"


class Worker:
    """A worker process and its replacements. ``open`` selects the workload and the backend that it measures.

    The process is isolated: whatever a candidate does to it becomes a failed measurement, and the next candidate runs
    in a new process. Ctrl-C reaches only the parent process. The worker process ends when its parent ends, for whatever
    reason.

    Args:
        threads: the number of cores of the worker, equal to ``num_cores`` of every target that it opens.
        cores: the cores to use. By default the last ones that this process may use, because interrupts and other
            programs prefer the first.
        space: ``module:function``, a function of backend, workload and target that returns a schedule space.
        start_secs: the longest time to wait for a process to start and to open a workload.

    Raises:
        ValueError: this process may not use that many cores, or not these.
    """

    def __init__(
        self,
        threads: int = 1,
        *,
        cores: Sequence[int] | None = None,
        space: str = SPACE,
        start_secs: float = 120.0,
    ) -> None:
        usable = affinity.usable()
        if not 1 <= threads <= len(usable):
            raise ValueError(f"threads must be between 1 and {len(usable)} (the cores this process may use)")
        self.cores = tuple(usable[-threads:] if cores is None else cores)
        if len(set(self.cores)) != threads or not set(self.cores) <= set(usable):
            raise ValueError(f"cores {self.cores} are not {threads} of those that this process may use, {usable}")
        self._space = space
        self._start_secs = start_secs
        self._process: WorkerProcess | None = None
        self._wanted: dict[str, Any] | None = None  # the last request to open, which each new process gets again
        self._requested: dict[str, Any] | None = None  # the request that this process has got
        self._unanswered = 0  # requests to open without an answer yet

    @property
    def pid(self) -> int | None:
        """The ID of the current process, or None if no process runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the process if it is not running, and returns at once."""
        self._running()

    def open(self, workload: Workload, target: Target, backend: str, seed: int = 0) -> None:
        """Selects a workload and a backend, and returns at once. The process gets ready in the background.

        Raises:
            ValueError: the target has another number of cores than this worker.
        """
        if target.num_cores != len(self.cores):
            raise ValueError(f"a worker on {len(self.cores)} cores cannot measure for {target.num_cores}")
        machine = None if target.machine is None else target.machine.text  # the id alone does not give its costs
        fields = {"backend": backend, "workload": workload.to_json(), "target": target.to_json(), "seed": seed}
        fields |= {"machine": machine}
        self._wanted = {"open": fields}
        self._running()

    def wait(self) -> None:
        """Waits until the process is ready to measure.

        Raises:
            RuntimeError: the process cannot start or cannot open the workload; the message has the reason.
        """
        self._ready()

    def measure(
        self,
        schedule: Schedule,
        *,
        timing: Timing = Timing(),  # noqa: B008 - immutable
        timeout_secs: float = 10.0,
        best_secs: float | None = None,
    ) -> Measurement:
        """Builds, verifies and times one schedule, all within ``timeout_secs``.

        Args:
            schedule: the candidate.
            timing: how often and how long the candidate is timed.
            timeout_secs: the time limit.
            best_secs: the best time of this workload so far. Much slower candidates are timed less thoroughly.

        Raises:
            RuntimeError: the process cannot start or cannot open the workload, which is not the fault of the schedule.
        """
        process = self._ready()
        fields = {"schedule": schedule.to_json(), "timing": dataclasses.asdict(timing), "best_secs": best_secs}
        try:
            process.send({"measure": fields})
            answer = process.receive(timeout_secs)
        except ProcessLostError as loss:
            self.close()
            self.start()  # in the background, while the search proposes the next candidates
            return Measurement((), str(loss))
        except BaseException:
            self.close()  # or its pending answer would be read as the answer to the next request
            raise
        return Measurement(tuple(answer["run_secs"]), answer["error"])

    def close(self) -> None:
        """Ends the process. A later call of another method starts a new one."""
        if self._process:
            self._process.kill()
        self._process = None
        self._requested = None
        self._unanswered = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> WorkerProcess:
        """Returns the process. Starts it if necessary, and sends the request to open if it has not got it yet."""
        if not (self._process and self._process.is_alive()):
            self.close()
            self._process = WorkerProcess(self.cores, self._space)
        if self._wanted and self._wanted != self._requested:
            self._process.send(self._wanted)
            self._requested = self._wanted
            self._unanswered += 1
        return self._process

    def _ready(self) -> WorkerProcess:
        if not self._wanted:
            raise RuntimeError("no workload is open: call open first")
        process = self._running()
        error = None  # of the last request to open; the earlier ones do not matter any more
        try:
            while self._unanswered:
                error = process.receive(self._start_secs)["error"]
                self._unanswered -= 1
        except ProcessLostError as loss:
            error = str(loss)
        if error:
            self.close()
            raise RuntimeError(f"the worker process cannot measure: {error}")
        return process


class LocalRunner:
    """A :class:`autotune.runners.runner.Runner` on this machine, with one :class:`Worker` per number of threads.

    Workers start when they are first needed.

    Args:
        seed: the seed of the inputs.
        timeout_secs: the longest time of one trial, including the build.
        timing: how often and how long candidates are timed.
        space: see :class:`Worker`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        timeout_secs: float = 10.0,
        timing: Timing = Timing(),  # noqa: B008 - immutable
        space: str = SPACE,
    ) -> None:
        self._seed, self._timeout_secs, self._timing, self._space = seed, timeout_secs, timing, space
        self._workers: dict[int, Worker] = {}
        self._best_secs: dict[tuple[Workload, Target, str], float] = {}

    def worker(self, threads: int) -> Worker:
        """Returns the worker on this number of cores.

        Raises:
            ValueError: this process may not use that many cores.
        """
        if threads not in self._workers:
            self._workers[threads] = Worker(threads, space=self._space)
        return self._workers[threads]

    def prepare(self, workload: Workload, target: Target, backend: str) -> None:
        """Starts the worker process for the target, if necessary, and returns at once.

        Raises:
            ValueError: this process may not use as many cores as the target has.
        """
        self.worker(target.num_cores).open(workload, target, backend, self._seed)

    def measure(
        self, workload: Workload, target: Target, backend: str, schedules: Iterable[Schedule]
    ) -> Iterator[Measurement]:
        """Yields one measurement per schedule, in their order, each as soon as it is finished.

        Raises:
            ValueError: this process may not use as many cores as the target has.
            RuntimeError: a worker process cannot start, or has no such backend or workload.
        """
        worker, key = self.worker(target.num_cores), (workload, target, backend)
        for schedule in schedules:
            worker.open(workload, target, backend, self._seed)
            measurement = worker.measure(
                schedule, timing=self._timing, timeout_secs=self._timeout_secs, best_secs=self._best_secs.get(key)
            )
            if measurement.ok:
                self._best_secs[key] = min(measurement.median_secs, self._best_secs.get(key, math.inf))
            yield measurement

    def close(self) -> None:
        """Ends the worker processes."""
        for worker in self._workers.values():
            worker.close()

    def __enter__(self) -> LocalRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
