"""Draws and checks cases in several processes."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tests.compiler.differential import children
from tests.compiler.differential.case import Case
from tests.compiler.differential.check import outcomes
from tests.compiler.differential.generate import Unit, drawn
from tests.compiler.differential.outcome import Outcome, warm
from tests.compiler.differential.report import Report

Results = list[tuple[Case, Outcome]]


def run(work: Sequence[Unit], jobs: int, progress: bool = False) -> Report:
    """Checks the cases of all units in ``jobs`` processes."""
    report = Report()
    start = last = time.monotonic()
    done = 0
    for results in children.in_workers(_results, work, jobs, warm):
        report.add(results)
        done += len(results)
        now = time.monotonic()
        if progress and now - last > 20:
            last = now
            print(f"{done} cases in {now - start:.0f} s, {report.failed} failed", flush=True)
    if progress:
        print(f"{done} cases in {time.monotonic() - start:.0f} s, {report.failed} failed", flush=True)
    return report


def _results(unit: Unit) -> Results:
    cases = drawn(unit)
    return list(zip(cases, outcomes(cases), strict=True))
