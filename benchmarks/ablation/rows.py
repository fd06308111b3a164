"""The rows of an ablation, timed in one process that is pinned to its cores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import kernels
from benchmarks.whole_models.comparison import rounds_of
from benchmarks.whole_models.implementations import Arrays, Run
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure


@dataclass(frozen=True)
class Row:
    """A variant of a model.

    Attributes:
        run: runs the variant, whose answer has been checked.
        facts: more columns of the table; the keys are those of ``benchmarks.ablation.report.FACTS``.
    """

    run: Run
    facts: Mapping[str, int | None] = field(default_factory=dict)


def timed(rows: Mapping[str, Row], inputs: Arrays, duration: float) -> dict[str, Any]:
    """Times the rows in turns (``compiler.measure.sampling``) and returns the seconds of their runs as plain JSON."""
    others = OthersWatch()
    samples = measure({name: partial(row.run, inputs) for name, row in rows.items()}, duration)
    return {
        "cpu": kernels.cpu_name(),
        "isa": kernels.detect_isa(),
        "cores_busy_with_others": others.busy_cores(),
        "rows": {name: {**row.facts, "secs": rounds_of(samples[name])} for name, row in rows.items()},
    }
