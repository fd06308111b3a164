"""The progress of a model's search: a bar on a terminal, one line per slice anywhere else."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from autotune.commands.result import workload_text
from autotune.commands.units import secs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.searches.model_search import TaskState


class ModelProgress(ABC):
    """Shows the progress of a model's search.

    Args:
        steps: the number of steps, such as trials.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0

    def step(self) -> None:
        """Counts one more step."""
        self.done += 1

    @abstractmethod
    def say(self, line: str) -> None:
        """Shows a line about the present step."""

    def slice(self, state: TaskState, states: Sequence[TaskState]) -> None:
        """Shows a line about a task after one of its slices."""
        before, after = (sum(totals) for totals in zip(*((s.default_total, s.best_total) for s in states), strict=True))
        self.say(
            f"{workload_text(state.task.workload)}: {secs_text(state.default_secs)} -> {secs_text(state.best_secs)} "
            f"in {state.trials} trials; all layers {secs_text(before)} -> {secs_text(after)}"
        )

    def __enter__(self) -> ModelProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


class PlainModelProgress(ModelProgress):
    def say(self, line: str) -> None:
        print(f"[{self.done}/{self.steps}] {line}", flush=True)


class LiveModelProgress(ModelProgress):
    """Draws a bar, and erases it at the end."""

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        super().__init__(steps)
        columns = BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        self._bar = Progress(*columns, transient=True)
        self._task = self._bar.add_task("", total=steps)

    def step(self) -> None:
        super().step()
        self._bar.advance(self._task)

    def say(self, line: str) -> None:
        self._bar.update(self._task, description=line)

    def __enter__(self) -> ModelProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()


def model_progress(steps: int) -> ModelProgress:
    """Returns a bar if standard output is a terminal, and plain lines otherwise."""
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return LiveModelProgress(steps) if live else PlainModelProgress(steps)
