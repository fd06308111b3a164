"""The rows of a profile, and sums over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from compiler.program.profile import ProfileRow

# Headings of the two tables.
LAYERS = ("layer", "op", "backend", "µs", "share", "GFLOP/s", "of roofline", "schedule")
KINDS = ("operator", "rows", "µs", "share")


@dataclass(frozen=True)
class Profile:
    """A profile of a model.

    Attributes:
        rows: the rows of ``CompiledModel.profile``, in the order of the program.
        untuned: names of the layers that run their default schedule.
    """

    rows: tuple[ProfileRow, ...]
    untuned: frozenset[str] = frozenset()

    @property
    def seconds(self) -> float:
        return sum(row.seconds for row in self.rows)

    def share(self, seconds: float) -> float:
        """Returns the fraction of the time of all rows."""
        return seconds / self.seconds if self.seconds else 0.0

    def schedule(self, row: ProfileRow) -> str:
        if row.schedule is None:
            return ""
        return f"{'default: ' if row.layer in self.untuned else ''}{row.schedule}"

    def cells(self) -> list[list[str]]:
        """Returns the rows of the table with the headings ``LAYERS``."""
        return [
            [
                row.layer,
                row.op,
                row.backend,
                microseconds(row.seconds),
                f"{self.share(row.seconds):.1%}",
                "" if row.gflops is None else f"{row.gflops:.1f}",
                "" if row.roofline is None else f"{row.roofline:.0%}",
                self.schedule(row),
            ]
            for row in self.rows
        ]

    def by_op(self) -> list[tuple[str, int, float]]:
        """Returns each kind of layer with the number of its rows and their seconds, the slowest first."""
        kinds: dict[str, tuple[int, float]] = {}
        for row in self.rows:
            count, seconds = kinds.get(kind(row), (0, 0.0))
            kinds[kind(row)] = count + 1, seconds + row.seconds
        return sorted(((name, *sums) for name, sums in kinds.items()), key=lambda entry: -entry[2])

    def sums(self) -> list[list[str]]:
        """Returns the rows of the table with the headings ``KINDS``: each kind of layer, then the total."""
        entries = [*self.by_op(), ("total", len(self.rows), self.seconds)]
        return [[name, str(count), microseconds(secs), f"{self.share(secs):.1%}"] for name, count, secs in entries]

    def to_json(self) -> dict[str, Any]:
        rows = [
            row.to_json() | {"share": self.share(row.seconds), "untuned": row.layer in self.untuned}
            for row in self.rows
        ]
        return {"seconds": self.seconds, "rows": rows}


def kind(row: ProfileRow) -> str:
    """Returns the operator, or the origin of code that is not a kernel."""
    origins = {"tvm": "generated", "onnxruntime": "ONNX Runtime", "vm": "virtual machine"}
    return origins.get(row.backend) or row.op.partition(" ")[0]


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:,.1f}"
