"""Evolutionary search: generations of mutated and crossed schedules that the cost model selects.

After Zheng et al., Ansor (OSDI 2020), section 5.1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from autotune.strategies.base import ModelGuidedStrategy, draw
from compiler.workloads.schedule import Schedule


class EvolutionaryStrategy(ModelGuidedStrategy):
    """Evolves, in each round, a population from the fastest measured schedules and some random ones."""

    population = 128
    generations = 5
    crossover = 0.3  # share of the children; the others are mutations

    def explore(self) -> Iterable[Schedule]:
        fastest = self.fastest(self.population // 2)
        parents = fastest + draw(self.space, self.rng, self.population - len(fastest), fastest)
        visited = dict.fromkeys(parents)
        for _ in range(self.generations):
            # The probability of selection falls with the rank, but even the worst can be selected.
            order = np.argsort(self.log_secs(parents), kind="stable")
            weights = 1.0 / np.arange(1, len(parents) + 1)
            pairs = self.rng.choice(order, size=(self.population, 2), p=weights / weights.sum())
            children = [
                self._cross(parents[a], parents[b]) if self.rng.random() < self.crossover else self._mutate(parents[a])
                for a, b in pairs
            ]
            parents = [child for child in children if self.space.is_legal(child)] or parents
            visited |= dict.fromkeys(parents)
        return visited

    def _mutate(self, schedule: Schedule) -> Schedule:
        decision = self.space.decisions[self.rng.integers(len(self.space.decisions))]
        return schedule.replace(**{decision.name: decision.choices[self.rng.integers(len(decision.choices))]})

    def _cross(self, a: Schedule, b: Schedule) -> Schedule:
        from_a = self.rng.random(len(self.space.decisions)) < 0.5
        return a.replace(
            **{d.name: b.values[d.name] for d, keep in zip(self.space.decisions, from_a, strict=True) if not keep}
        )
