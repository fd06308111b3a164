"""A schedule space whose one decision is what the candidate does, good and bad; loaded by the worker process."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Mapping

import numpy as np

from compiler.workloads.schedule import Decision, Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

BEHAVIOURS = (
    # Those without a comment do what they say.
    "ok",
    "chatty",  # prints to both outputs, and as native code does
    "slow",
    "pid",  # fails, and says in which process on which cores and with which threads
    "build error",
    "load error",
    "run error",
    "segfault",
    "abort",
    "exit",
    "hang",
    "hang in native code",  # holds the GIL, so that no Python thread or signal handler can run
    "half wrong",
    "slightly wrong",
    "nan",
    "transposed",
    "float64",
    "stale",  # gives the answer of the program before it, as one does that writes nothing into recycled memory
)


class FakeProgram:
    last_answer = np.zeros((), np.float32)

    def __init__(self, behaviour: str, space: FakeSpace) -> None:
        self.behaviour = behaviour
        self.space = space

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        if self.behaviour == "load error":
            raise RuntimeError("does not fit")
        self.x, self.weight = inputs["x"], inputs["weight"]

    def run(self) -> np.ndarray:
        answer = self.x @ self.weight.T
        match self.behaviour:
            case "run error":
                raise RuntimeError("first line\nsecond line")
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
                os.abort()
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(1000)
            case "hang in native code":
                ctypes.PyDLL(None).sleep(1000)
            case "half wrong":
                answer[: len(answer) // 2] = 0
            case "slightly wrong":
                answer[0, 0] += 1e-3
            case "nan":
                answer[-1, -1] = np.nan
            case "transposed":
                return answer.T
            case "float64":
                return answer.astype(np.float64)
            case "stale":
                return FakeProgram.last_answer
        FakeProgram.last_answer = answer
        return answer

    def time(self, number: int, repeat: int) -> list[float]:
        secs = {"slow": 1.0}.get(self.behaviour, 0.001)
        return [secs + 1e-6 * number] * repeat


class FakeSpace(ScheduleSpace):
    decisions = (Decision("act", BEHAVIOURS),)

    def __init__(self, backend: str, workload: Workload, target: Target) -> None:
        if backend == "broken":
            raise RuntimeError("no such library")
        self.backend, self.workload, self.target = backend, workload, target

    def is_legal(self, schedule: Schedule) -> bool:
        return schedule.values["act"] in BEHAVIOURS

    def default(self) -> Schedule:
        return Schedule(self.backend, {"act": "ok"})

    def build(self, schedule: Schedule) -> FakeProgram:
        behaviour = str(schedule.values["act"])
        if behaviour == "build error":
            raise ValueError("tile too large\n  for the registers")
        if behaviour == "chatty":
            print('{"run_secs": [1e-12], "error": null}', flush=True)
            print("x" * 1_000_000, file=sys.stderr, flush=True)
            os.write(1, b"y" * 1_000_000)
        if behaviour == "pid":
            cores = sorted(os.sched_getaffinity(0))
            raise RuntimeError(f"pid {os.getpid()} cores {cores} omp {os.environ['OMP_NUM_THREADS']}")
        return FakeProgram(behaviour, self)


def dies_at_start(*_: object) -> FakeSpace:
    os.write(2, b"loading\nlibrary not found\n")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
