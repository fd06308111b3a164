"""Decides which task of a model's search gets the next trials: the one that is expected to save the model most time.

After the task scheduler of Zheng et al., Ansor (OSDI 2020), with the sum of all layers' times as the objective. The
estimate combines how fast a search gained lately and an optimistic guess. In Ansor the guess is that a task's time
falls to zero in as many trials as it has had. Here it falls to its physical limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Weight of the recent rate in the estimate, as in Ansor's implementation. The rest is that of the optimistic guess.
_RECENT = 0.2
# The least distance of a task from its limit, as a share of its time. Limits are measured too, and some are exceeded.
_NEAREST = 0.05


@dataclass
class Standing:
    """The state of one task's search.

    Attributes:
        count: how many layers of the model the task has.
        limit_secs: the lower bound of a layer's seconds.
        best_secs: the lowest seconds of a layer so far; ``math.inf`` as long as nothing has succeeded.
        trials: the number of schedules that were ever measured.
        rate: seconds per layer that each trial of the last slice gained.
        exhausted: whether further trials are pointless: the space has no more schedules, or nothing ever succeeds.
    """

    count: int
    limit_secs: float
    best_secs: float
    trials: int
    rate: float = 0.0
    exhausted: bool = False

    @property
    def expected_gain(self) -> float:
        """Seconds by which one more trial is expected to shorten the model's run."""
        if math.isinf(self.best_secs):
            return math.inf
        ahead = max(self.best_secs - self.limit_secs, _NEAREST * self.best_secs)
        return self.count * (_RECENT * self.rate + (1 - _RECENT) * ahead / max(1, self.trials))

    def advance(self, requested: int, made: int, best_secs: float) -> None:
        """Records the result of a slice of ``requested`` trials, of which ``made`` were made."""
        gained = self.best_secs - best_secs
        self.rate = gained / made if made and math.isfinite(gained) else 0.0
        self.best_secs = best_secs
        self.trials += made
        self.exhausted = made < requested or math.isinf(best_secs)


def spend(
    standings: Sequence[Standing],
    trials: int,
    slice_trials: int,
    step: Callable[[int, int], tuple[int, float]],
) -> None:
    """Spends ``trials`` on the tasks, one slice at a time, and updates their standings.

    Args:
        standings: one per task.
        trials: the trials of all tasks together. Some remain if every space is exhausted.
        slice_trials: the trials of one slice.
        step: ``(task, trials) -> (trials made, best seconds)`` continues the search of a task.
    """
    while trials > 0:
        open_tasks = [task for task, standing in enumerate(standings) if not standing.exhausted]
        if not open_tasks:
            return
        task = max(open_tasks, key=lambda task: standings[task].expected_gain)
        requested = min(slice_trials, trials)
        made, best_secs = step(task, requested)
        standings[task].advance(requested, made, best_secs)
        trials -= made


def slice_of(trials: int, tasks: int) -> int:
    """Returns the trials of a slice: two slices per task if they were dealt evenly, but between 4 and 16 trials."""
    return max(4, min(16, trials // (2 * tasks)))
