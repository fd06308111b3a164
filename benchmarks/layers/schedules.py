"""Tuned schedules: stored ones, after a short search if there are too few."""

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
    """Returns the best schedule of our kernels in a file of records, after a search up to ``trials`` records.

    Returns None if there is no space to search, or no record while ``trials`` is 0.
    """
    if workload.operator.space is None or BACKEND not in backends(workload):
        return None
    target = Target.from_host(num_cores=threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Records(path) as records:
        missing = trials - len(records.query(workload, target, BACKEND))
        if missing > 0:
            autotune.tune(workload, target, BACKEND, STRATEGY, missing, records=records)
        best = records.best(workload, target, BACKEND)
    return best.schedule if best else None
