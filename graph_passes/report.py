"""Reports of what each pass changed, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graph_passes.base import Remark
from graph_passes.count import Cost


@dataclass(frozen=True)
class PassReport:
    """Size of the model before and after one pass.

    ``macs`` counts multiply-adds; None if shapes are unknown. ``seconds`` is the run time of the pass.
    """

    name: str
    nodes_before: int
    nodes_after: int
    params_before: int
    params_after: int
    macs_before: int | None
    macs_after: int | None
    seconds: float
    remarks: tuple[Remark, ...] = ()

    @classmethod
    def of(cls, name: str, before: Cost, after: Cost, seconds: float, remarks: Sequence[Remark]) -> PassReport:
        return cls(
            name,
            before.nodes,
            after.nodes,
            before.params,
            after.params,
            before.macs,
            after.macs,
            seconds,
            tuple(remarks),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def table(reports: Sequence[PassReport]) -> str:
    """Returns a plain text table with one line per pass."""
    lines = [["pass", "nodes", "parameters", "multiply-adds", "seconds"]]
    lines += [
        [
            report.name,
            _change(report.nodes_before, report.nodes_after),
            _change(report.params_before, report.params_after),
            _change(report.macs_before, report.macs_after),
            f"{report.seconds:.2f}",
        ]
        for report in reports
    ]
    return columns(lines, left=(0,))


def columns(lines: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Returns ``lines`` of cells as aligned columns. The first line has the headings; ``left`` are columns of text."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (lines[0], ["-" * width for width in widths], *lines[1:])
    )


def amount(count: int | None) -> str:
    """Formats a count with four digits, such as 3858 M; exact below ten thousand."""
    if count is None:
        return "unknown"
    for factor, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= 10 * factor or (unit == "M" and count >= factor):
            return f"{count / factor:.1f} {unit}" if count < 100 * factor else f"{count / factor:.0f} {unit}"
    return str(count)


def _change(before: int | None, after: int | None) -> str:
    return amount(after) if before == after else f"{amount(before)} -> {amount(after)}"
