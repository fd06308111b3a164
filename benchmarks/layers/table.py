"""The columns of the tables of layers, while a group is measured and in the report."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.layers.comparison import Comparison
from benchmarks.layers.shapes import describe


def headings(names: Sequence[str], peers: Sequence[str]) -> list[str]:
    """Returns the headings for implementations ``names``, of which ``peers`` are baselines."""
    ratios = [f"ours/{name} [95 %]" for name in peers]
    return ["shape", "sizes", "times", *names, "roofline", "share", "best", *ratios]


def cells(comparison: Comparison, names: Sequence[str], peers: Sequence[str]) -> list[str]:
    """Returns the cells of a comparison; those of implementations that were not measured are empty."""
    c = comparison
    return [
        c.shape,
        describe(c.workload),
        str(next(iter(c.occurrences.values()), "")),
        *(f"{c.gflops[name]:.1f}" if name in c.gflops else "" for name in names),
        f"{f'{c.slowest_level} ' if c.memory_bound else ''}{c.limit_gflops:.1f}",
        f"{c.fraction_of_roofline:.1%}",
        f"{c.best_fraction_of_roofline:.1%}",
        *(str(c.ratios.get(name, "")) for name in peers),
    ]
