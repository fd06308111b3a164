"""The interface of search strategies, which propose schedules and observe their measurements, and what they share."""

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

_ENUMERABLE = 1 << 16  # a space with at most this many combinations is enumerated if random draws find nothing new


class SearchStrategy(ABC):
    """Proposes schedules of one space.

    Args:
        space: the space of the schedules.
        cost_model: the model of the search, which trains it before each ``propose``. A strategy may ignore it.
        seed: with the same seed and the same measurements, the same schedules are proposed.
        history: earlier measurements, in order. Their schedules are not proposed again.
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
        """Returns ``n`` distinct legal schedules that were never measured, or fewer if the space has no more."""

    def observe(self, schedules: Sequence[Schedule], measurements: Sequence[Measurement]) -> None:
        """Adds the measurements of ``schedules``, including failures."""
        self.measured.update(zip(schedules, measurements, strict=True))

    def fastest(self, n: int) -> list[Schedule]:
        """Returns the ``n`` fastest measured schedules, fastest first, or fewer if fewer have succeeded."""
        succeeded = [(m.median_secs, s) for s, m in self.measured.items() if m.ok]
        return [schedule for _, schedule in sorted(succeeded, key=lambda pair: pair[0])[:n]]


class ModelGuidedStrategy(SearchStrategy):
    """Explores the space with the cost model and proposes the schedules with the best predictions.

    The first round, without a trained model, proposes the default and schedules that differ as much as possible. Later
    rounds propose the best of the schedules that :meth:`explore` visited. The members of the cost model alternately
    pick the schedule that they predict to be fastest, so the diversity of a batch reflects their disagreement (Thompson
    sampling with an ensemble, as in Osband et al., NIPS 2016). An ``exploring`` share is random, which reveals errors
    that all members share.

    Raises:
        ValueError: ``cost_model`` is None.
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
        """Returns legal schedules to predict. The more of them are fast, the better."""

    def propose(self, n: int) -> list[Schedule]:
        rest = draw(self.space, self.rng, n, self.measured)
        if len(rest) < n or not self.space.decisions:
            return rest
        default = self.space.default()
        chosen = {default: None} if default not in self.measured else {}
        if not self.model.is_trained:
            pool = draw(self.space, self.rng, 8 * n, {**self.measured, **chosen})
            return [*chosen, *spread(self.space, pool, n - len(chosen))]
        visited = [s for s in dict.fromkeys(self.explore()) if s not in self.measured and s not in chosen]
        opinions = self.model.opinions(self.space.workload, self.space.target, visited)
        exploited = n - len(chosen) - int(self.rng.binomial(n - len(chosen), self.exploring))
        chosen |= {visited[i]: None for i in pick_alternately(opinions, exploited)}
        return [*chosen, *draw(self.space, self.rng, n - len(chosen), {**self.measured, **chosen})]

    def log_secs(self, schedules: Sequence[Schedule]) -> np.ndarray:
        """Returns the predicted log seconds, float64 (len(schedules),)."""
        return self.model.predict(self.space.workload, self.space.target, schedules)


def pick_alternately(opinions: np.ndarray, n: int) -> list[int]:
    """Returns up to ``n`` distinct columns. The rows alternately pick the lowest of their remaining columns."""
    members = cycle(iter(order) for order in np.argsort(opinions, axis=1, kind="stable").tolist())
    taken: dict[int, None] = {}
    while len(taken) < min(n, opinions.shape[1]):
        taken[next(column for column in next(members) if column not in taken)] = None
    return list(taken)


def draw(space: ScheduleSpace, rng: np.random.Generator, n: int, known: Collection[Schedule]) -> list[Schedule]:
    """Returns ``n`` distinct legal schedules that are not in ``known``, or fewer if no more can be found.

    Draws uniformly by rejection. If legal schedules are too rare for that, a small space is enumerated, which is still
    uniform. A large space is walked from the known schedules outwards, one decision at a time.

    Args:
        space: the space.
        rng: the source of randomness.
        n: the number of schedules.
        known: schedules to leave out, in a deterministic order (not a set).
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
            for *_, schedule in space.neighbors(frontier.pop(int(rng.integers(len(frontier))))):
                if schedule not in seen:
                    seen.add(schedule)
                    frontier.append(schedule)
                    drawn[schedule] = None
    return list(drawn)[:n]


def spread(space: ScheduleSpace, pool: Sequence[Schedule], n: int) -> list[Schedule]:
    """Returns ``n`` schedules of ``pool`` that differ in as many decisions as possible (farthest-point sampling)."""
    if n >= len(pool):
        return list(pool)
    choices = np.array([space.choices(schedule) for schedule in pool])
    picked = [0]
    distance = (choices != choices[0]).sum(axis=1)
    while len(picked) < n:
        picked.append(int(distance.argmax()))
        distance = np.minimum(distance, (choices != choices[picked[-1]]).sum(axis=1))
    return [pool[i] for i in picked[:n]]
