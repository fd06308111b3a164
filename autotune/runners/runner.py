"""The runner protocol: what a search needs in order to measure its candidates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from compiler.workloads.records import Measurement
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload


class Runner(Protocol):
    """Measures schedules. One runner serves any number of workloads, targets and backends, one after the other.

    ``autotune.runners.local.LocalRunner`` measures in worker processes on this machine. A runner on other machines
    implements the same three methods. A runner is open from its construction until :meth:`close`.
    """

    def prepare(self, workload: Workload, target: Target, backend: str) -> None:
        """Announces what is measured next and returns at once, so that the runner can get ready in the background.

        Raises:
            ValueError: the runner cannot measure for this target.
        """
        ...

    def measure(
        self, workload: Workload, target: Target, backend: str, schedules: Iterable[Schedule]
    ) -> Iterator[Measurement]:
        """Yields one measurement per schedule, in their order, each as soon as it is finished.

        A candidate is built and verified before it is timed. One that fails, crashes or hangs gives a failed
        measurement with the reason.

        Raises:
            ValueError: the runner cannot measure for this target.
            RuntimeError: the runner itself fails, which is not the fault of a schedule.
        """
        ...

    def close(self) -> None:
        """Releases processes and connections. No other method may be called afterwards."""
        ...
