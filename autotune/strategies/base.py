"""What every search strategy is: it proposes schedules, and is told what they measured."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from itertools import cycle, product
from typing import TYPE_CHECKING

import numpy as np

from compiler.workloads.schedule import Schedule, ScheduleSpace

if TYPE_CHECKING:
    from autotune.cost_models.xgboost import CostModel
    from compiler.workloads.records import Measurement

_ENUMERABLE = 1 << 16  # a space with at most this many combinations is listed outright when draws find nothing new


class SearchStrategy(ABC):
    """Proposes schedules of one space.

    Args:
        space: where the schedules come from.
        cost_model: shared with the tuner, which trains it before each ``propose``; a strategy may ignore it.
        seed: with the same seed and the same measurements, the same schedules are proposed.
        history: what is measured already, in order; never proposed again.
    """

    def __init__(
        self,
        space: ScheduleSpace,
        cost_model: CostModel | None,
        seed: int,
        history: Iterable[tuple[Schedule, Measurement]] = (),
    ) -> None:
        self.space = space
        self.cost_model = cost_model
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.measured: dict[Schedule, Measurement] = dict(history)

    @abstractmethod
    def propose(self, n: int) -> list[Schedule]:
        """Up to ``n`` distinct, legal schedules that were never measured; fewer only when the space has no more."""

    def observe(self, schedules: Sequence[Schedule], measurements: Sequence[Measurement]) -> None:
        """Takes in what ``schedules`` measured; failures too."""
        self.measured.update(zip(schedules, measurements, strict=True))

    def fastest(self, n: int) -> list[Schedule]:
        """The ``n`` best measured schedules, best first; fewer while fewer succeeded."""
        succeeded = [(m.median_secs, s) for s, m in self.measured.items() if m.ok]
        return [schedule for _, schedule in sorted(succeeded, key=lambda pair: pair[0])[:n]]


class ModelGuidedStrategy(SearchStrategy):
    """Explores by the cost model's word, and measures what looks best.

    The first round has nothing to go by: it takes the space's default and schedules that differ as much as possible.
    Later ones take the best of what :meth:`explore` visited. The members of the cost model take turns at choosing the
    one that they hold to be fastest, so a batch is as diverse as they disagree (Thompson sampling, with an ensemble as
    in Osband et al., NIPS 2016). An ``exploring`` share is random, so that what all are wrong about is found out.

    Raises:
        ValueError: there is no cost model.
    """

    exploring = 0.05

    def __init__(
        self,
        space: ScheduleSpace,
        cost_model: CostModel | None,
        seed: int,
        history: Iterable[tuple[Schedule, Measurement]] = (),
    ) -> None:
        if cost_model is None:
            raise ValueError("this strategy needs a cost model")
        super().__init__(space, cost_model, seed, history)
        self.model = cost_model

    @abstractmethod
    def explore(self) -> Iterable[Schedule]:
        """Legal schedules worth a prediction: the more of them are fast, the better."""

    def propose(self, n: int) -> list[Schedule]:
        rest = draw(self.space, self.rng, n, self.measured)
        if len(rest) < n:
            return rest
        default = self.space.default()
        chosen = {default: None} if default not in self.measured else {}
        if not self.model.is_trained:
            pool = draw(self.space, self.rng, 8 * n, {**self.measured, **chosen})
            return [*chosen, *spread(self.space, pool, n - len(chosen))]
        visited = [s for s in dict.fromkeys(self.explore()) if s not in self.measured and s not in chosen]
        opinions = self.model.opinions(self.space.workload, self.space.target, visited)
        exploited = n - len(chosen) - int(self.rng.binomial(n - len(chosen), self.exploring))
        chosen |= {visited[i]: None for i in take_turns(opinions, exploited)}
        return [*chosen, *draw(self.space, self.rng, n - len(chosen), {**self.measured, **chosen})]

    def log_secs(self, schedules: Sequence[Schedule]) -> np.ndarray:
        """log seconds: the cost model's word, float64 (len(schedules),)."""
        return self.model.predict(self.space.workload, self.space.target, schedules)


def take_turns(opinions: np.ndarray, n: int) -> list[int]:
    """Up to ``n`` distinct columns: each row in turn takes its lowest column that is still there."""
    members = cycle(iter(order) for order in np.argsort(opinions, axis=1, kind="stable").tolist())
    taken: dict[int, None] = {}
    while len(taken) < min(n, opinions.shape[1]):
        taken[next(column for column in next(members) if column not in taken)] = None
    return list(taken)


def draw(space: ScheduleSpace, rng: np.random.Generator, n: int, known: Collection[Schedule]) -> list[Schedule]:
    """Up to ``n`` distinct legal schedules that are not ``known``; fewer only when there are no more to be found.

    Uniform by rejection. Where legal ones are so rare that this fails, a small space is listed (still uniform), and a
    large one is walked from the known ones outwards, one decision at a time (so ``known`` must have an order: no set).
    """
    sizes = [len(decision.choices) for decision in space.decisions]
    drawn: dict[Schedule, None] = {}
    for choices in rng.integers(sizes, size=(32 * n + 256, len(sizes))).tolist():
        if len(drawn) == n:
            return list(drawn)
        schedule = space.schedule(choices)
        if schedule not in known and schedule not in drawn and space.is_legal(schedule):
            drawn[schedule] = None
    if math.prod(sizes) <= _ENUMERABLE:
        every = map(space.schedule, product(*map(range, sizes)))
        rest = [s for s in every if s not in known and s not in drawn and space.is_legal(s)]
        drawn |= dict.fromkeys(rest[i] for i in rng.permutation(len(rest)))
    else:
        frontier = [space.default(), *known, *drawn]
        seen = set(frontier)
        while frontier and len(drawn) < n:
            for *_, schedule in space.neighbours(frontier.pop(int(rng.integers(len(frontier))))):
                if schedule not in seen:
                    seen.add(schedule)
                    frontier.append(schedule)
                    drawn[schedule] = None
    return list(drawn)[:n]


def spread(space: ScheduleSpace, pool: Sequence[Schedule], n: int) -> list[Schedule]:
    """``n`` of ``pool`` that differ from each other in as many decisions as possible (farthest-point sampling)."""
    if n >= len(pool):
        return list(pool)
    choices = np.array([space.choices(schedule) for schedule in pool])
    picked = [0]
    distance = (choices != choices[0]).sum(axis=1)
    while len(picked) < n:
        picked.append(int(distance.argmax()))
        distance = np.minimum(distance, (choices != choices[picked[-1]]).sum(axis=1))
    return [pool[i] for i in picked[:n]]
