"""A schedule space with one decision: how the candidate behaves. The worker process loads it."""

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

BEHAVIORS = (
    "ok",
    "chatty",  # prints to both outputs, and as native code does
    "slow",
    "machine",  # fails, with the id of the target's machine model in the message
    "pid",  # fails, with the process, cores and threads in the message
    "build error",
    "load error",
    "run error",
    "segfault",
    "abort",
    "exit",
    "hang",
    "hang in native code",  # holds the GIL, so no Python thread or signal handler can run
    "half wrong",
    "slightly wrong",
    "nan",
    "transposed",
    "float64",
    "stale",  # returns the answer of the previous program, like one that does not write its output to recycled memory
)


class FakeProgram:
    last_answer = np.zeros((), np.float32)

    def __init__(self, behavior: str, space: FakeSpace) -> None:
        self.behavior = behavior
        self.space = space

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        if self.behavior == "load error":
            raise RuntimeError("does not fit")
        self.x, self.weight = inputs["x"], inputs["weight"]

    def run(self) -> np.ndarray:
        answer = self.x @ self.weight.T
        match self.behavior:
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
        secs = {"slow": 1.0}.get(self.behavior, 0.001)
        return [secs + 1e-6 * number] * repeat


class FakeSpace(ScheduleSpace):
    decisions = (Decision("act", BEHAVIORS),)

    def __init__(self, backend: str, workload: Workload, target: Target) -> None:
        if backend == "broken":
            raise RuntimeError("no such library")
        self.backend, self.workload, self.target = backend, workload, target

    def is_legal(self, schedule: Schedule) -> bool:
        return schedule.values["act"] in BEHAVIORS

    def default(self) -> Schedule:
        return Schedule(self.backend, {"act": "ok"})

    def build(self, schedule: Schedule) -> FakeProgram:
        behavior = str(schedule.values["act"])
        if behavior == "build error":
            raise ValueError("tile too large\n  for the registers")
        if behavior == "chatty":
            print('{"run_secs": [1e-12], "error": null}', flush=True)
            print("x" * 1_000_000, file=sys.stderr, flush=True)
            os.write(1, b"y" * 1_000_000)
        if behavior == "machine":
            raise RuntimeError(f"machine {self.target.model.id}")
        if behavior == "pid":
            cores = sorted(os.sched_getaffinity(0))
            raise RuntimeError(f"pid {os.getpid()} cores {cores} omp {os.environ['OMP_NUM_THREADS']}")
        return FakeProgram(behavior, self)


def dies_at_start(*_: object) -> FakeSpace:
    os.write(2, b"loading\nlibrary not found\n")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
