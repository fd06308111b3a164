"""A single trial: which answers are right."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.runners.trial import Bench, one_line
from compiler.measure.budgeted import Timing
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import ACTIVATIONS, Workload

TARGET = Target("test", "reference", 32, 16, (32768,), num_cores=1)
SCHEDULE = Schedule("test", {})


class OffByProgram:
    """Returns the reference with an error of ``times`` the tolerance in one element."""

    def __init__(self, workload: Workload, times: float) -> None:
        self.workload, self.times = workload, times

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        self.inputs = inputs

    def time(self, number: int, repeat: int) -> list[float]:  # noqa: ARG002 - each run takes 1 ms
        return [1e-3] * repeat

    def run(self) -> np.ndarray:
        answer = reference(self.workload, self.inputs)
        answer[0, 0] += self.times * tolerance(self.workload, self.inputs)[0, 0]
        return answer.astype(np.float32)


class OffBySpace(ScheduleSpace):
    backend, target, decisions = "test", TARGET, ()

    def __init__(self, workload: Workload, times: float) -> None:
        self.workload, self.times = workload, times
        self.built: list[OffByProgram] = []

    def is_legal(self, schedule: Schedule) -> bool:
        return schedule == SCHEDULE

    def default(self) -> Schedule:
        return SCHEDULE

    def build(self, schedule: Schedule) -> OffByProgram:
        assert self.is_legal(schedule)
        self.built.append(OffByProgram(self.workload, self.times))
        return self.built[-1]


workloads = st.builds(
    lambda dims, additions, activation: Workload("dense", dims, epilogue=(*additions, *activation)),
    st.tuples(*[st.integers(1, 20)] * 3),
    st.sampled_from([(), ("bias",), ("residual",), ("bias", "residual")]),
    st.sampled_from([(), *((a,) for a in ACTIVATIONS)]),
)


@settings(deadline=None)
@given(workloads, st.sampled_from([-2.0, -0.7, 0.0, 0.7, 2.0]))
def test_an_answer_is_right_within_the_tolerance_and_wrong_beyond(workload: Workload, times: float):
    measurement = Bench(OffBySpace(workload, times), workload).measure(SCHEDULE, Timing())
    assert measurement.ok == (abs(times) < 1)
    if not measurement.ok:
        assert f"1 of {math.prod(workload.dims[:2])} elements" in (measurement.error or "")


def test_two_questions_take_turns():
    space = OffBySpace(Workload.dense(2, 3, 4), 0.0)
    bench = Bench(space, space.workload, seed=5)
    for _ in range(3):
        assert bench.measure(SCHEDULE, Timing()).ok
    for program, seed in zip(space.built, [5, 6, 5], strict=True):
        assert np.array_equal(program.inputs["x"], make_inputs(space.workload, seed)["x"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "ValueError: one"),
        (RuntimeError("\n\n  late"), "RuntimeError: late"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("x" * 1000), "RuntimeError: " + "x" * 286),
    ],
)
def test_a_reason_is_one_short_line(error: Exception, line: str):
    assert one_line(error) == line
