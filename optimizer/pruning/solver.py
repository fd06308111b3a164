"""Chooses how many channels each group keeps: the least lost importance within a budget.

For a price of one unit of cost, each group takes the width of least lost importance + price * cost, with the widths of
the other groups as they are, until none changes. The precision of a layer is chosen in the same way: its widths are
bits. The price is bisected until the budget holds (a Lagrangian
relaxation: Everett, Operations Research 11, 1963; widths of channels under a budget of latency: Shen et al.: HALP,
NeurIPS 2022). What remains of the budget is given back: single groups become wider where that saves the most importance
per cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from optimizer.pruning.costs import Cost, Term

BISECTIONS, SWEEPS = 24, 12
MOST_WIDTHS = 24  # per group
_NOTHING = 1e-9  # the share that stays if all that stays has no importance


@dataclass(frozen=True)
class Choice:
    """One group.

    Attributes:
        widths: the numbers of channels that it may keep, ascending; the last one is all of them.
        lost: the importance that is lost at each of these widths.
    """

    widths: tuple[int, ...]
    lost: tuple[float, ...]

    @classmethod
    def of(cls, scores: np.ndarray, step: int, least: float) -> Choice:
        """Returns the choice for a group: multiples of ``step``, at least ``least`` of its channels, or all of them.

        What is lost is the group's importance times minus the logarithm of the share of it that stays: about the
        removed importance while that is small. Layers follow each other, so the shares that stay multiply, and removing
        a quarter in two groups is better than a half in one.
        """
        size = len(scores)
        first = max(step, -(-int(np.ceil(least * size)) // step) * step)
        widths = list(range(first, size, step))
        if len(widths) > MOST_WIDTHS:
            widths = sorted({widths[round(place)] for place in np.linspace(0, len(widths) - 1, MOST_WIDTHS)})
        removed, total = np.concatenate([[0.0], np.cumsum(np.sort(scores))]), float(np.sum(scores))
        staying = np.maximum(1 - removed / total, _NOTHING) if total != 0 else np.ones(size + 1)
        lost = -total * np.log(staying)
        return cls((*widths, size), tuple(abs(float(lost[size - width])) for width in (*widths, size)))

    def kept(self, scores: np.ndarray, width: int) -> tuple[int, ...]:
        """Returns the channels of largest scores, ascending."""
        return tuple(sorted(np.argsort(-scores, kind="stable")[:width].tolist()))


class Solver:
    """Chooses widths.

    Args:
        choices: the groups.
        price: the cost that has a price.
        budget: the cost that is limited; the same as ``price``, or another one.
    """

    def __init__(self, choices: Sequence[Choice], price: Cost, budget: Cost) -> None:
        self._choices, self._price, self._budget = choices, price, budget

    @property
    def narrowest(self) -> tuple[int, ...]:
        return tuple(choice.widths[0] for choice in self._choices)

    @cached_property
    def smallest(self) -> tuple[int, ...]:
        """The widths of the smallest budget that is known: not always the narrowest, as fewer bits may take longer."""
        return min(self.narrowest, self._at(self._prices()[1]), key=self._budget)

    @property
    def widest(self) -> tuple[int, ...]:
        return tuple(choice.widths[-1] for choice in self._choices)

    def lost(self, kept: Sequence[int]) -> float:
        """Returns the importance that is lost at these widths."""
        return sum(c.lost[c.widths.index(width)] for c, width in zip(self._choices, kept, strict=True))

    def solve(self, limit: float) -> tuple[int, ...] | None:
        """Returns the widths of little lost importance whose budget is at most ``limit``; None if none has."""
        if self._budget(self.widest) <= limit:
            return self.widest
        if self._budget(self.smallest) > limit:
            return None
        best = self.smallest
        low, high = self._prices()
        for _ in range(BISECTIONS):
            price = float(np.sqrt(low * high))
            found = self._at(price)
            if self._budget(found) <= limit:
                high = price
                best = min(best, found, key=self.lost)
            else:
                low = price
        return self._widened(best, limit)

    def _prices(self) -> tuple[float, float]:
        """Returns prices between which the answer lies: at the first, nothing is worth removing, at the second, all."""
        whole = max(self._price(self.widest), 1e-300)
        total = max(sum(choice.lost[0] for choice in self._choices), 1e-300)
        return 1e-9 * total / whole, 1e9 * total / whole

    def _at(self, price: float) -> tuple[int, ...]:
        """Returns the widths for a price: coordinate descent from the widest ones."""
        kept = list(self.widest)
        for _ in range(SWEEPS):
            before = list(kept)
            for group, choice in enumerate(self._choices):
                terms = self._terms[group]

                def total(
                    place: int, group: int = group, choice: Choice = choice, terms: Sequence[Term] = terms
                ) -> float:
                    kept[group] = choice.widths[place]
                    return choice.lost[place] + price * sum(term(kept) for term in terms)

                kept[group] = choice.widths[min(reversed(range(len(choice.widths))), key=total)]
            if kept == before:
                break
        return tuple(kept)

    def _widened(self, kept: tuple[int, ...], limit: float) -> tuple[int, ...]:
        """Returns the widths after single groups became wider as long as the limit holds."""
        now = list(kept)
        while True:
            spent = self._budget(now)
            moves = []
            for group, choice in enumerate(self._choices):
                place = choice.widths.index(now[group])
                for wider in range(place + 1, len(choice.widths)):
                    cost = self._change(self._budget_terms[group], now, group, choice.widths[wider])
                    if spent + cost <= limit:
                        gain = choice.lost[place] - choice.lost[wider]
                        moves.append((gain / max(cost, 1e-12 * max(spent, 1e-300)), group, choice.widths[wider]))
            if not moves:
                return tuple(now)
            _, group, width = max(moves)
            now[group] = width

    @staticmethod
    def _change(terms: Sequence[Term], kept: list[int], group: int, width: int) -> float:
        before = sum(term(kept) for term in terms)
        old, kept[group] = kept[group], width
        after = sum(term(kept) for term in terms)
        kept[group] = old
        return after - before

    @cached_property
    def _terms(self) -> list[list[Term]]:
        return self._by_group(self._price)

    @cached_property
    def _budget_terms(self) -> list[list[Term]]:
        return self._by_group(self._budget)

    def _by_group(self, cost: Cost) -> list[list[Term]]:
        """Returns the terms that depend on each group."""
        return [[term for term in cost.terms if group in term.groups] for group in range(len(self._choices))]
