"""Records: what was measured, what was chosen, and the order of the fastest."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

CHOSEN_BACKEND = "kernel"  # the backend of choices


@dataclass(frozen=True)
class Measurement:
    """The result of one schedule: samples in seconds per run, or the reason of the failure.

    Raises:
        ValueError: samples are not finite and positive, or there are both samples and an error, or neither.
    """

    run_secs: tuple[float, ...]
    error: str | None = None

    def __post_init__(self) -> None:
        if bool(self.run_secs) != (self.error is None):
            raise ValueError(f"a measurement has either samples or an error, got {self.run_secs} and {self.error!r}")
        if not all(math.isfinite(secs) and secs > 0 for secs in self.run_secs):
            raise ValueError(f"samples must be finite and positive seconds, got {self.run_secs}")

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def median_secs(self) -> float:
        """The median of the samples.

        Raises:
            ValueError: the measurement failed.
        """
        if self.error is not None:
            raise ValueError(f"a failed measurement has no time: {self.error}")
        return statistics.median(self.run_secs)


@dataclass(frozen=True)
class Record:
    """One measurement with its workload, target and schedule. ``strategy`` and ``seed`` identify the search."""

    workload: Workload
    target: Target
    schedule: Schedule
    measurement: Measurement
    strategy: str | None = None
    seed: int | None = None
    unix_secs: float = dataclasses.field(default_factory=time.time)


@dataclass(frozen=True)
class ModelChoice:
    """The schedule of our kernels and the number of threads for the layers of one workload in a model.

    Raises:
        ValueError: fewer threads than one, or a schedule of another backend.
    """

    workload: Workload
    schedule: Schedule
    threads: int

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.schedule.backend != CHOSEN_BACKEND:
            raise ValueError(f"a choice is a schedule of {CHOSEN_BACKEND}, got one of {self.schedule.backend}")


def model_key(workloads: Iterable[Workload]) -> str:
    """Returns the key of a model for choices: the SHA-256 of its layers' workloads in order, as hexadecimal digits.

    Models that differ only in their weights have the same key. The number of threads is part of the target.
    """
    return hashlib.sha256(canonical([workload.to_json() for workload in workloads]).encode()).hexdigest()


def ranked(records: Iterable[Record]) -> list[Record]:
    """Returns one record per successful schedule, with the samples of all its records, fastest median first.

    The fastest of many single readings is often a lucky one. So schedules that were measured more than once precede
    those that were measured once.
    """
    of_schedule: dict[tuple[Workload, Target, Schedule], list[Record]] = {}
    for record in records:
        if record.measurement.ok:
            of_schedule.setdefault((record.workload, record.target, record.schedule), []).append(record)

    def pooled(same: list[Record]) -> Record:
        return dataclasses.replace(
            same[0], measurement=Measurement(sum((record.measurement.run_secs for record in same), start=()))
        )

    readings = [(len(same) == 1, pooled(same)) for same in of_schedule.values()]
    return [record for _, record in sorted(readings, key=lambda one: (one[0], one[1].measurement.median_secs))]


def fastest(records: Iterable[Record]) -> Record | None:
    """Returns the first of :func:`ranked`, or None if nothing succeeded."""
    return next(iter(ranked(records)), None)


def target_key(target: Target) -> str:
    """Returns canonical JSON of the fields that comparison of targets uses."""
    compared = {field.name for field in dataclasses.fields(Target) if field.compare}
    return canonical({name: value for name, value in target.to_json().items() if name in compared})


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
