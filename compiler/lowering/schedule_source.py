"""Where the schedules of a model's layers come from."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from compiler.workloads.database import Records
from compiler.workloads.records import ModelChoice, model_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

Schedules: TypeAlias = "str | os.PathLike[str] | Callable[[Workload, Target], Schedule | None]"


class ScheduleSource(Protocol):
    """Known schedules of our kernels."""

    def for_model(self, workloads: Sequence[Workload], target: Target, /) -> Mapping[Workload, ModelChoice]:
        """Returns what was chosen for the model whose layers have these workloads, in this order."""
        ...

    def for_workload(self, workload: Workload, target: Target, /) -> Schedule | None:
        """Returns the best known schedule of a workload alone, or None."""
        ...


@dataclass(frozen=True)
class NoSchedules:
    """No schedules: every layer runs its default."""

    def for_model(self, _workloads: Sequence[Workload], _target: Target, /) -> Mapping[Workload, ModelChoice]:
        return {}

    def for_workload(self, _workload: Workload, _target: Target, /) -> Schedule | None:
        return None


@dataclass(frozen=True)
class FunctionSchedules:
    """The schedules that a function returns for a workload and a target."""

    function: Callable[[Workload, Target], Schedule | None]

    def for_model(self, _workloads: Sequence[Workload], _target: Target, /) -> Mapping[Workload, ModelChoice]:
        return {}

    def for_workload(self, workload: Workload, target: Target, /) -> Schedule | None:
        return self.function(workload, target)


@dataclass(frozen=True)
class RecordedSchedules:
    """The schedules in a database of records: the choices for entire models, and the fastest of each workload."""

    records: Records

    def for_model(self, workloads: Sequence[Workload], target: Target, /) -> Mapping[Workload, ModelChoice]:
        return self.records.chosen(model_key(workloads), target)

    def for_workload(self, workload: Workload, target: Target, /) -> Schedule | None:
        best = self.records.best(workload, target, backend="kernel")
        return best.schedule if best else None


@contextlib.contextmanager
def opened(schedules: Schedules | None) -> Iterator[ScheduleSource]:
    """Opens a file of records, or wraps a function.

    Raises:
        FileNotFoundError: no such file.
    """
    if schedules is None:
        yield NoSchedules()
    elif callable(schedules):
        yield FunctionSchedules(schedules)
    elif not os.path.exists(schedules):
        raise FileNotFoundError(f"no file of records at {os.fspath(schedules)!r}")
    else:
        with Records(schedules) as records:
            yield RecordedSchedules(records)
