"""The progress of searches: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from autotune.commands.result import speed_cell, speed_text
from autotune.commands.shapes import shape_text
from compiler.measure.roofline import Roofline
from compiler.workloads.records import Measurement
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@dataclass
class SearchProgress:
    """The progress of one search: planned, then started, then counting trials, then done.

    Attributes:
        roofline: None before the search starts.
        seconds: the duration of the search; None before it is done.
    """

    workload: Workload
    backend: str
    planned: int
    roofline: Roofline | None = None
    trials: int = 0
    failures: int = 0
    best_secs: float = math.inf
    started: float = 0.0
    seconds: float | None = None

    @property
    def elapsed(self) -> float:
        if self.roofline is None:
            return 0.0
        return time.monotonic() - self.started if self.seconds is None else self.seconds

    @property
    def measured(self) -> bool:
        """Whether anything has succeeded."""
        return math.isfinite(self.best_secs)

    @property
    def fraction_of_roofline(self) -> float:
        return self.roofline.secs / self.best_secs if self.roofline else 0.0


class Progress(ABC):
    """Shows the progress of the searches of a plan, which run in the plan's order."""

    def __init__(self, plan: Sequence[SearchProgress]) -> None:
        self.plan = plan
        self._next = iter(plan)
        self.current = plan[0]

    def start(self, roofline: Roofline) -> None:
        """Starts the next search of the plan."""
        self.current = next(self._next)
        self.current.roofline = roofline
        self.current.started = time.monotonic()
        self.show(self.current)

    def trial(self, measurement: Measurement) -> None:
        """Counts one more trial of the current search."""
        search = self.current
        search.trials += 1
        if measurement.ok:
            search.best_secs = min(search.best_secs, measurement.median_secs)
        else:
            search.failures += 1
        self.show(search)

    def finish(self, best_secs: float) -> None:
        """Ends the current search. Its best may be that of an earlier search."""
        self.current.best_secs = best_secs
        self.current.seconds = self.current.elapsed
        self.show(self.current)

    @abstractmethod
    def show(self, search: SearchProgress) -> None:
        """Shows a search that has changed."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class PlainProgress(Progress):
    """Prints a line when a search starts, after 1, 2, 4, 8, ... trials, and when it is done."""

    def show(self, search: SearchProgress) -> None:
        milestone = search.trials & (search.trials - 1) == 0 and search.trials < search.planned
        if milestone or search.seconds is not None:
            print(_line(search), flush=True)


class LiveProgress(Progress):
    """Draws a table with one line per search in place, and erases it at the end."""

    def __init__(self, plan: Sequence[SearchProgress], console: Console | None = None) -> None:
        from rich.live import Live

        super().__init__(plan)
        self._live = Live(get_renderable=self.table, console=console, refresh_per_second=8, transient=True)

    def table(self) -> Table:
        """Returns the present table."""
        return _table(self.plan)

    def show(self, search: SearchProgress) -> None:
        """Does nothing, because the table is redrawn periodically."""

    def __enter__(self) -> Progress:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()


def progress(plan: Sequence[SearchProgress]) -> Progress:
    """Returns live progress if standard output is a terminal, and plain lines otherwise."""
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return LiveProgress(plan) if live else PlainProgress(plan)


def _line(search: SearchProgress) -> str:
    head = f"{shape_text(search.workload)} {search.backend}: "
    if search.roofline and search.trials == 0 and search.seconds is None:
        roofline = speed_text(search.workload, search.roofline.secs)
        return f"{head}roofline {roofline}, {search.planned} trials"
    best = f"best {speed_text(search.workload, search.best_secs)}, {search.fraction_of_roofline:.1%} of the roofline"
    return (
        f"{head}{'done, ' if search.seconds is not None else ''}"
        f"{best if search.measured else 'nothing measured yet'}, "
        f"trial {search.trials}/{search.planned}, {search.failures} failed, {search.elapsed:.1f} s"
    )


def _table(plan: Sequence[SearchProgress]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("shape", no_wrap=True)
    table.add_column("backend", no_wrap=True)
    for heading in ("best GFLOP/s", "roofline", "of roofline"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("trials", no_wrap=True)
    for heading in ("", "failed", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for search in plan:
        style = "dim" if search.roofline is None else "bold" if search.seconds is None else ""
        table.add_row(
            shape_text(search.workload),
            search.backend,
            speed_cell(search.workload, search.best_secs) if search.measured else "",
            speed_cell(search.workload, search.roofline.secs) if search.roofline else "",
            Text(f"{search.fraction_of_roofline:.1%}", _color(search.fraction_of_roofline)) if search.measured else "",
            ProgressBar(search.planned, search.trials, width=16),
            f"{search.trials}/{search.planned}",
            str(search.failures) if search.roofline else "",
            f"{search.elapsed:.1f}" if search.roofline else "",
            style=style,
        )
    return table


def _color(fraction: float) -> str:
    return "green" if fraction >= 0.9 else "yellow" if fraction >= 0.7 else "red"
