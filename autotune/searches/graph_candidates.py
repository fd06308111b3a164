"""What layers may run by inside a network: the best schedules on record, and the kernel's own choice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from autotune import backends as spaces
from autotune.searches.tuning import offers
from compiler.workloads.layer import Layer
from compiler.workloads.records import Record, Records, ranked
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

FEW = 4  # of the fastest schedules, whatever their algorithm

# A layer of more operations gains from every thread it gets; with fewer, waking them may take longer than they save.
_SMALL_FLOPS = 20_000_000


@dataclass(frozen=True)
class Candidate:
    """``schedule`` is None for what the kernel takes by itself."""

    schedule: Schedule | None
    threads: int

    def of(self, layer: Layer) -> Layer:
        """The layer that runs by it."""
        return replace(layer, schedule=self.schedule, threads=self.threads)

    def __str__(self) -> str:
        return f"{self.schedule or 'default'} threads={self.threads}"


def candidates(
    workload: Workload, threads: int, target: Target, records: Records, fast_algorithms: bool = True
) -> list[Candidate]:
    """What the layers of a workload may run by in a model for ``target``.

    Args:
        threads: that these layers run on now; small ones may run on one thread or on all of the target's as well.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms.
    """
    counts = [threads]
    if workload.flops <= _SMALL_FLOPS:
        counts += sorted({1, target.num_cores} - {threads})
    found: list[Candidate] = []
    for count in counts:
        on_count = replace(target, num_cores=count)
        space = spaces.space("kernel", workload, on_count, fast_algorithms)
        known = [record for record in records.query(workload, on_count, "kernel") if offers(space, record)]
        found += [Candidate(schedule, count) for schedule in best_of_each(space, known)]
        found.append(Candidate(None, count))
    return found


def best_of_each(space: ScheduleSpace, records: Iterable[Record], few: int = FEW) -> list[Schedule]:
    """The ``few`` fastest schedules, and the fastest of each algorithm that is not among them; fastest first."""
    schedules = [record.schedule for record in ranked(records)]
    leading = schedules[:few]
    seen = {space.algorithm(schedule) for schedule in leading}
    for schedule in schedules[few:]:
        if space.algorithm(schedule) not in seen:
            seen.add(space.algorithm(schedule))
            leading.append(schedule)
    return leading
