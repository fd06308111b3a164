"""Measures schedules in a worker process: warm, pinned to its cores, and replaced when a candidate takes it down.

    with Measurer(workload, target, "kernel") as measurer:
        measurements = measurer.measure(schedules)

A worker loads TVM once, which takes seconds; to spend them once for several workloads, and while something else is
done, start one worker early and hand it to each measurer in turn:

    with Worker() as worker:
        worker.start()
        ...
        for workload in workloads:
            with Measurer(workload, target, "tvm", worker=worker) as measurer:
                ...
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any

from autotune.runners.process import ProcessLostError, WorkerProcess
from autotune.runners.trial import Timing
from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


class Worker:
    """A worker process, and the one after it; tries schedules for one workload on one backend, which ``open`` chooses.

    The process is isolated: what a candidate does to it becomes a failed Measurement, and the next candidate meets a
    new process. Ctrl-C reaches the tuner alone, and the process ends when the tuner ends, however that happens.

    Args:
        threads: cores that the worker may use; the ``num_cores`` of every target that it opens.
        cores: which ones; by default the last of those that this process may use, since interrupts and other programs
            prefer the first.
        space: ``module:function`` that makes a schedule space from backend, workload and target.
        start_secs: how long to wait for a process to start and to open a workload.

    Raises:
        ValueError: this process may not use that many cores, or not these.
    """

    def __init__(
        self,
        threads: int = 1,
        *,
        cores: Sequence[int] | None = None,
        space: str = "autotune.backends:space",
        start_secs: float = 120.0,
    ) -> None:
        usable = sorted(os.sched_getaffinity(0))
        if not 1 <= threads <= len(usable):
            raise ValueError(f"threads must be between 1 and {len(usable)} (the cores this process may use)")
        self.cores = tuple(usable[-threads:] if cores is None else cores)
        if len(set(self.cores)) != threads or not set(self.cores) <= set(usable):
            raise ValueError(f"cores {self.cores} are not {threads} of those that this process may use, {usable}")
        self._space = space
        self._start_secs = start_secs
        self._process: WorkerProcess | None = None
        self._wanted: dict[str, Any] | None = None  # the last request to open; each new process gets it again
        self._requested: dict[str, Any] | None = None  # the one that this process has got
        self._unanswered = 0  # requests to open

    @property
    def pid(self) -> int | None:
        """Of the process there is at the moment."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Starts the process, if it is not running, and returns at once."""
        self._running()

    def open(self, workload: Workload, target: Target, backend: str, seed: int = 0) -> None:
        """Turns to a workload and a backend, and returns at once: the process gets ready by itself.

        Raises:
            ValueError: the target has another number of cores than this worker.
        """
        if target.num_cores != len(self.cores):
            raise ValueError(f"a worker on {len(self.cores)} cores cannot measure for {target.num_cores}")
        fields = {"backend": backend, "workload": workload.to_json(), "target": target.to_json(), "seed": seed}
        self._wanted = {"open": fields}
        self._running()

    def wait(self) -> None:
        """Waits until the process is ready to measure.

        Raises:
            RuntimeError: it cannot start, or cannot open the workload; the message says why.
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

        ``best_secs`` is the best of this workload so far; much slower candidates are timed less thoroughly.

        Raises:
            RuntimeError: the process cannot start, or cannot open the workload: no fault of the schedule.
        """
        process = self._ready()
        fields = {"schedule": schedule.to_json(), "timing": dataclasses.asdict(timing), "best_secs": best_secs}
        try:
            process.send({"measure": fields})
            answer = process.receive(timeout_secs)
        except ProcessLostError as loss:
            self.close()
            self.start()  # it gets ready while the tuner thinks
            return Measurement((), str(loss))
        except BaseException:
            self.close()  # or the answer under way would be taken for the next one's
            raise
        return Measurement(tuple(answer["run_secs"]), answer["error"])

    def close(self) -> None:
        """Ends the process; a later call of another method starts a new one."""
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
        """The process: started where there is none, and asked to open what is wanted where it was not yet."""
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
        error = None  # of the last request to open; nobody asks about those before
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


class Measurer:
    """Measures schedules of one workload on one backend, and never raises for what one of them does.

    A trial builds the schedule, runs it once, compares its answer with the float64 reference, and times it only if it
    is right. A wrong answer, a failed build, a crash and a hang each give a failed Measurement with its reason.

    Args:
        workload, target, backend: what is measured; the process uses ``target.num_cores`` cores.
        seed: of the inputs.
        timeout_secs: the longest that one trial may take, building included.
        timing: how often and how long candidates are timed.
        cores: see :class:`Worker`.
        worker: the worker to use, which stays open and may serve other measurers in between; by default the measurer
            has one of its own.

    Raises:
        ValueError: as :class:`Worker` and its ``open``.
    """

    def __init__(
        self,
        workload: Workload,
        target: Target,
        backend: str,
        *,
        seed: int = 0,
        timeout_secs: float = 10.0,
        timing: Timing = Timing(),  # noqa: B008 - immutable
        cores: Sequence[int] | None = None,
        worker: Worker | None = None,
    ) -> None:
        self._owns_worker = worker is None
        self._worker = worker or Worker(target.num_cores, cores=cores)
        self._timeout_secs = timeout_secs
        self._timing = timing
        self._best_secs: float | None = None
        self._workload, self._target, self._backend, self._seed = workload, target, backend, seed
        self._open()

    def measure(self, schedules: Sequence[Schedule]) -> list[Measurement]:
        """One measurement for each schedule, in their order.

        Raises:
            RuntimeError: the worker process cannot start, or knows no such backend or workload.
        """
        return list(self.measure_each(schedules))

    def measure_each(self, schedules: Iterable[Schedule]) -> Iterator[Measurement]:
        """The same one by one, so that each can be recorded before the next one starts."""
        for schedule in schedules:
            self._open()
            measurement = self._worker.measure(
                schedule, timing=self._timing, timeout_secs=self._timeout_secs, best_secs=self._best_secs
            )
            if measurement.ok:
                self._best_secs = min(measurement.median_secs, self._best_secs or math.inf)
            yield measurement

    def _open(self) -> None:
        self._worker.open(self._workload, self._target, self._backend, self._seed)

    def close(self) -> None:
        if self._owns_worker:
            self._worker.close()

    def __enter__(self) -> Measurer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
