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
    if not _has_space(workload):
        return None
    target = Target.from_host(num_cores=threads)
    missing = missing_trials(workload, threads, path, trials)
    path.parent.mkdir(parents=True, exist_ok=True)
    with Records(path) as records:
        if missing > 0:
            autotune.tune(workload, target, BACKEND, STRATEGY, missing, records=records)
        best = records.best(workload, target, BACKEND)
    return best.schedule if best else None


def missing_trials(workload: Workload, threads: int, path: Path, trials: int) -> int:
    """Returns how many trials a file of records, which may be missing, has fewer than ``trials``."""
    if trials == 0 or not _has_space(workload):
        return 0
    if not path.exists():
        return trials
    with Records(path) as records:
        return max(0, trials - len(records.query(workload, Target.from_host(num_cores=threads), BACKEND)))


def _has_space(workload: Workload) -> bool:
    return workload.operator.space is not None and BACKEND in backends(workload)
