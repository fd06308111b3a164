"""Which of a model's searches gets the next trials: the one that is expected to save the model the most time by them.

After the task scheduler of Zheng et al.: Ansor (OSDI 2020), whose objective is here the sum of all layers' times. It
estimates how fast a search gains by how fast it gained lately, and by an optimistic guess. Theirs is that a task's time
falls to nothing in as many trials as it has had; ours is that it falls to its physical limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Share of the recent rate in the estimate; the rest is the optimistic guess. As in Ansor's implementation.
_RECENT = 0.2
# No task counts as nearer to its limit than this, since limits are measured as well, and some are beaten.
_NEAREST = 0.05


@dataclass
class Standing:
    """Where the search of one task stands.

    Attributes:
        count: how often the task's layers occur in the model.
        limit_secs: the least that a layer can take.
        best_secs: the least that one takes so far; ``math.inf`` where nothing has succeeded.
        trials: schedules that were ever measured.
        rate: seconds that a layer gained by each trial of the last slice.
        exhausted: whether further trials are pointless: the space has no more, or nothing ever succeeds.
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

    def advance(self, asked: int, made: int, best_secs: float) -> None:
        """Takes in what a slice of ``asked`` trials came to."""
        gained = self.best_secs - best_secs
        self.rate = gained / made if made and math.isfinite(gained) else 0.0
        self.best_secs = best_secs
        self.trials += made
        self.exhausted = made < asked or math.isinf(best_secs)


def spend(
    standings: Sequence[Standing],
    trials: int,
    slice_trials: int,
    step: Callable[[int, int], tuple[int, float]],
) -> None:
    """Spends ``trials`` on the tasks, a slice at a time, and keeps their standings up to date.

    Args:
        standings: of each task.
        trials: for all of them together; some are left where every space is used up.
        slice_trials: of one slice.
        step: ``(task, trials) -> (trials made, best seconds then)`` searches on.
    """
    while trials > 0:
        open_tasks = [task for task, standing in enumerate(standings) if not standing.exhausted]
        if not open_tasks:
            return
        task = max(open_tasks, key=lambda task: standings[task].expected_gain)
        asked = min(slice_trials, trials)
        made, best_secs = step(task, asked)
        standings[task].advance(asked, made, best_secs)
        trials -= made


def slice_of(trials: int, tasks: int) -> int:
    """Trials of a slice: two for each task if they were dealt out evenly; from 4, so that there is something to learn
    from, to 16.
    """
    return max(4, min(16, trials // (2 * tasks)))
