"""Candidates for the layers of a network: the best stored schedules and the kernel's default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from autotune.searches.stored import offers
from compiler.workloads.database import Records
from compiler.workloads.layer import Layer
from compiler.workloads.machines import peak_flops
from compiler.workloads.records import Record, ranked
from compiler.workloads.schedule import Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

FEW = 4  # of the fastest schedules, whatever their algorithm

# A layer that takes longer than this many parallel regions gains from every thread, which costs it less than 1 %. In a
# smaller one, waking the threads may take longer than they save.
_SMALL_REGIONS = 100


@dataclass(frozen=True)
class Candidate:
    """A schedule and a number of threads. ``schedule`` is None for the kernel's default."""

    schedule: Schedule | None
    threads: int

    def of(self, layer: Layer) -> Layer:
        """Returns the layer with this schedule and number of threads."""
        return replace(layer, schedule=self.schedule, threads=self.threads)

    def __str__(self) -> str:
        return f"{self.schedule or 'default'} threads={self.threads}"


def candidates(
    workload: Workload,
    threads: int,
    target: Target,
    records: Records,
    space_of: Callable[[Workload, Target], ScheduleSpace],
) -> list[Candidate]:
    """Returns the candidates for the layers of a workload in a model for ``target``.

    Args:
        workload: what the layers compute.
        threads: the number of threads of these layers now. Candidates for small layers also use one thread, and all of
            the target's.
        target: the target of the model.
        records: the stored measurements.
        space_of: returns the schedule space of a workload on a target. Schedules outside of it are left out.
    """
    counts = [threads]
    secs = workload.flops / peak_flops(target, workload.dtype)
    if secs <= _SMALL_REGIONS * target.model.fork_join_secs(target.num_cores):
        counts += sorted({1, target.num_cores} - {threads})
    found: list[Candidate] = []
    for count in counts:
        on_count = replace(target, num_cores=count)
        space = space_of(workload, on_count)
        known = [r for r in records.query(workload, on_count, space.backend) if offers(space, r.schedule)]
        found += [Candidate(schedule, count) for schedule in best_of_each(space, known)]
        found.append(Candidate(None, count))
    return found


def best_of_each(space: ScheduleSpace, records: Iterable[Record], few: int = FEW) -> list[Schedule]:
    """Returns the ``few`` fastest schedules and the fastest of each other algorithm, fastest first."""
    schedules = [record.schedule for record in ranked(records)]
    leading = schedules[:few]
    seen = {space.algorithm(schedule) for schedule in leading}
    for schedule in schedules[few:]:
        if space.algorithm(schedule) not in seen:
            seen.add(space.algorithm(schedule))
            leading.append(schedule)
    return leading
