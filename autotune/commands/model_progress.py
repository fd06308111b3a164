"""How the search of a model is going: a bar on a terminal, a line a slice anywhere else."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from autotune.commands.units import secs_text
from autotune.searches.model_tasks import described

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autotune.searches.model_search import TaskState


class ModelProgress(ABC):
    """Is told what a model's search does.

    Args:
        steps: how many there will be: trials, or whatever is counted.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done = 0

    def step(self) -> None:
        """One more is done."""
        self.done += 1

    @abstractmethod
    def say(self, line: str) -> None:
        """What is going on now."""

    def slice(self, state: TaskState, states: Sequence[TaskState]) -> None:
        """A task has had its turn."""
        workload = state.task.workload
        before, after = (sum(totals) for totals in zip(*((s.default_total, s.best_total) for s in states), strict=True))
        self.say(
            f"{described(workload)}: {secs_text(state.default_secs)} -> {secs_text(state.best_secs)} "
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
    """It leaves nothing behind."""

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
    """What suits standard output."""
    live = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    return LiveModelProgress(steps) if live else PlainModelProgress(steps)
