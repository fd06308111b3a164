"""One trial: builds a schedule, verifies its answer, then times it. Runs inside a worker process."""

from __future__ import annotations

import itertools

import numpy as np

from compiler.measure.budgeted import Timing, sample
from compiler.workloads.records import Measurement
from compiler.workloads.reference import NUMPY_DTYPES, make_inputs, reference, tolerance
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.workload import Workload

_REASON_CHARS = 300


class Bench:
    """Measures schedules of one workload on one backend.

    Two sets of inputs alternate. A program that does not write its output therefore never finds the right answer in
    memory that the previous program has freed.
    """

    def __init__(self, space: ScheduleSpace, workload: Workload, seed: int = 0) -> None:
        self._space = space
        self._questions = itertools.cycle([_Question(workload, seed), _Question(workload, seed + 1)])

    def measure(self, schedule: Schedule, timing: Timing, best_secs: float | None = None) -> Measurement:
        """Builds, verifies and times a schedule. Whatever a candidate raises becomes a failed measurement."""
        question = next(self._questions)
        stage = "build"
        try:
            program = self._space.build(schedule)
            stage = "load"
            program.load(question.inputs)
            stage = "run"
            answer = program.run()
            stage = "verify"
            if wrong := question.wrong(answer, self._space.algorithm(schedule)):
                return Measurement((), wrong)
            stage = "time"
            return Measurement(tuple(sample(program.time, timing, best_secs)))
        except Exception as error:  # noqa: BLE001 - whatever a candidate raises is its result
            return Measurement((), f"{stage} failed: {one_line(error)}")


class _Question:
    """Inputs, the right answer to them, and the largest error that an answer may have."""

    def __init__(self, workload: Workload, seed: int) -> None:
        self.inputs = make_inputs(workload, seed)
        self._workload = workload
        self._answer = reference(workload, self.inputs)
        self._tolerances: dict[str, np.ndarray] = {}  # by algorithm, each computed at its first use

    def wrong(self, answer: np.ndarray, algorithm: str) -> str | None:
        """Returns what is wrong with an algorithm's answer, or None if it is right."""
        dtype = NUMPY_DTYPES[self._workload.dtype]
        if answer.shape != self._answer.shape or answer.dtype != dtype:
            return f"wrong answer: {answer.dtype} {answer.shape}, not {dtype} {self._answer.shape}"
        given = answer.astype(np.float64)
        if unfinite := int(np.count_nonzero(~np.isfinite(given))):
            return f"wrong answer: {unfinite} of {answer.size} elements are NaN or infinite"
        errors, limits = np.abs(given - self._answer), self._tolerance(algorithm)
        beyond = errors > limits
        if count := int(np.count_nonzero(beyond)):
            with np.errstate(divide="ignore"):  # a sum over padding only has a tolerance of 0
                worst = float(np.max(errors[beyond] / limits[beyond]))
            return f"wrong answer: {count} of {answer.size} elements, largest error {worst:.3g} times the tolerance"
        return None

    def _tolerance(self, algorithm: str) -> np.ndarray:
        if algorithm not in self._tolerances:
            self._tolerances[algorithm] = tolerance(self._workload, self.inputs, algorithm)
        return self._tolerances[algorithm]


def one_line(error: BaseException) -> str:
    """Returns the type of an exception and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:_REASON_CHARS]
