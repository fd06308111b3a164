"""One trial: builds a schedule, verifies its answer, then times it. Runs inside a worker process."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from dataclasses import dataclass

import numpy as np

from compiler.workloads.records import Measurement
from compiler.workloads.reference import NUMPY_DTYPES, make_inputs, reference, tolerance
from compiler.workloads.schedule import Program, Schedule, ScheduleSpace
from compiler.workloads.workload import Workload

_REASON_CHARS = 300


@dataclass(frozen=True)
class Timing:
    """How long and how often a candidate is timed.

    Attributes:
        sample_secs: the length of one sample, which is the mean of as many runs as fit. Long samples make the overhead
            of the clock and the call negligible.
        samples: the number of samples of a fast candidate.
        min_samples: the least number of samples, even if runs are long.
        budget_secs: the limit for all samples together. ``min_samples`` takes precedence.
        spread: the largest tolerated excess of the median sample over the fastest, as a fraction. If it is larger,
            something else was running, and the rest of the budget is spent on up to as many samples again.
        slow_factor: a candidate gets only one sample if its first timed run is slower than the best so far by this
            factor and longer than a fifth of the budget.
    """

    sample_secs: float = 1e-3
    samples: int = 9
    min_samples: int = 3
    budget_secs: float = 0.03
    spread: float = 0.05
    slow_factor: float = 5.0


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
            return Measurement(tuple(sample(program, timing, best_secs)))
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


def sample(program: Program, timing: Timing, best_secs: float | None) -> list[float]:
    """Returns samples of the seconds per run of a program that has run once already."""
    start = time.perf_counter()
    (once,) = program.time(1, 1)
    if best_secs is not None and once > max(timing.slow_factor * best_secs, timing.budget_secs / 5):
        return [once]
    number = math.ceil(timing.sample_secs / once)
    repeat = min(timing.samples, max(timing.min_samples, int(timing.budget_secs / (number * once))))
    samples = [once, *program.time(1, repeat - 1)] if number == 1 else program.time(number, repeat)
    left_secs = timing.budget_secs - (time.perf_counter() - start)
    affordable = max(0, int(left_secs / (number * once)))
    if statistics.median(samples) > (1 + timing.spread) * min(samples) and affordable:
        samples += program.time(number, min(repeat, affordable))
    return samples


def one_line(error: BaseException) -> str:
    """Returns the type of an exception and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:_REASON_CHARS]
