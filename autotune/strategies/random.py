"""Uniform random search without replacement, the baseline of the other strategies."""

from __future__ import annotations

from autotune.strategies.base import SearchStrategy, draw
from compiler.workloads.schedule import Schedule


class RandomStrategy(SearchStrategy):
    """Draws legal schedules uniformly."""

    def propose(self, n: int) -> list[Schedule]:
        return draw(self.space, self.rng, n, self.measured)
