"""A runner that measures by a formula instead of running anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


class FakeRunner:
    """Implements :class:`autotune.runners.runner.Runner`.

    Args:
        secs: the seconds of a schedule.

    Attributes:
        measured: all schedules in the order in which they were measured.
        prepared: all workloads in the order in which they were announced.
        failing: schedules that fail.
        closed: whether :meth:`close` was called.
    """

    def __init__(self, secs: Callable[[Schedule], float | Sequence[float]]) -> None:
        self.secs = secs
        self.measured: list[Schedule] = []
        self.prepared: list[Workload] = []
        self.failing: set[Schedule] = set()
        self.closed = False

    def prepare(self, workload: Workload, target: Target, backend: str) -> None:  # noqa: ARG002
        self.prepared.append(workload)

    def measure(
        self,
        workload: Workload,  # noqa: ARG002
        target: Target,  # noqa: ARG002
        backend: str,  # noqa: ARG002
        schedules: Iterable[Schedule],
    ) -> Iterator[Measurement]:
        for schedule in schedules:
            assert not self.closed
            self.measured.append(schedule)
            if schedule in self.failing:
                yield Measurement((), "wrong answer")
            else:
                secs = self.secs(schedule)
                yield Measurement((secs,) if isinstance(secs, int | float) else tuple(secs))

    def close(self) -> None:
        self.closed = True


def noisy(
    secs: Callable[[Schedule], float], seed: int, between: float = 0.02, within: float = 0.01
) -> Callable[[Schedule], list[float]]:
    """Returns nine samples per reading, with log-normal noise between and within the readings."""
    rng = np.random.default_rng(seed)

    def samples(schedule: Schedule) -> list[float]:
        level = secs(schedule) * float(rng.lognormal(0, between))
        return [level * float(factor) for factor in rng.lognormal(0, within, 9)]

    return samples


def unused(_schedule: Schedule) -> float:
    """The formula of a runner that must not measure."""
    raise AssertionError("a schedule was measured")
