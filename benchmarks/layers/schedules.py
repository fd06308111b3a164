"""Tuned schedules: those on record, after a short search where there are too few records."""

from __future__ import annotations

from pathlib import Path

import autotune
from autotune.backends import backends
from compiler.workloads.database import Records
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

BACKEND = "kernel"
STRATEGY = "rl"


def tuned_schedule(workload: Workload, threads: int, path: Path, trials: int) -> Schedule | None:
    """The best schedule of our kernels in the file ``path``, which a search first fills up to ``trials`` records.

    None where there is no space to search, and where there is no record and ``trials`` is 0.
    """
    if workload.operator.space is None or BACKEND not in backends(workload):
        return None
    target = Target.from_host(num_cores=threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Records(path) as records:
        lacking = trials - len(records.query(workload, target, BACKEND))
        if lacking > 0:
            autotune.tune(workload, target, BACKEND, STRATEGY, lacking, records=records)
        best = records.best(workload, target, BACKEND)
    return best.schedule if best else None
