"""The solver against all choices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.pruning.costs import Cost, Term
from optimizer.pruning.solver import Choice, Solver
from optimizer.pruning.widths import Width


def test_the_widths_of_a_group() -> None:
    choice = Choice.of(np.arange(20.0), 8, 0.1)
    assert choice.widths == (8, 16, 20)
    assert choice.lost == pytest.approx((190 * np.log(190 / (190 - 66)), 190 * np.log(190 / (190 - 6)), 0))
    assert Choice.of(np.zeros(4), 1, 0).lost == (0, 0, 0, 0)
    assert np.isfinite(Choice.of(np.array([1.0, 0]), 1, 0).lost).all()
    assert Choice.of(np.ones(20), 8, 0.5).widths == (16, 20)
    assert Choice.of(np.ones(8), 8, 0.1).widths == (8,)
    assert Choice.of(np.array([3.0, 1, 2]), 1, 0).kept(np.array([3.0, 1, 2]), 2) == (0, 2)


def product(one: int, other: int, scale: float) -> Term:
    return Term((Width(0, ((one, 1),)), Width(0, ((other, 1),))), lambda a, b: scale * a * b)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9999), st.floats(0.3, 0.95))
def test_little_more_is_lost_than_with_the_best_choice(seed: int, part: float) -> None:
    rng = np.random.default_rng(seed)
    choices = [Choice.of(rng.uniform(0, 1, 5) ** 2, 1, 0) for _ in range(4)]
    cost = Cost(
        "s", tuple(product(group, (group + 1) % 4, scale) for group, scale in enumerate(rng.uniform(0.2, 1, 4)))
    )
    solver = Solver(choices, cost, cost)
    limit = part * cost(solver.widest)
    found = solver.solve(limit)
    possible = [each for each in itertools.product(*(c.widths for c in choices)) if cost(each) <= limit]
    if not possible:
        assert found is None
        return
    assert found is not None
    assert cost(found) <= limit
    least, all_of_it = min(map(solver.lost, possible)), solver.lost(solver.narrowest)
    assert solver.lost(found) <= least + 0.1 * all_of_it


def test_ends() -> None:
    choices = [Choice.of(np.ones(4), 1, 0)] * 2
    cost = Cost("s", (product(0, 1, 1.0),))
    solver = Solver(choices, cost, cost)
    assert solver.solve(16) == (4, 4)
    assert solver.solve(1) == (1, 1)
    assert solver.solve(0.5) is None
    assert solver.lost((4, 4)) == pytest.approx(0)


def test_the_price_decides_where_channels_go() -> None:
    """Both groups have as many parameters, but the channels of the second one cost more time."""
    choices = [Choice.of(np.ones(8), 1, 0)] * 2
    parameters = Cost("parameters", tuple(Term((Width(0, ((g, 1),)),), float) for g in (0, 1)))
    secs = Cost("s", tuple(Term((Width(0, ((g, 1),)),), lambda n, g=g: n * (1 + 9.0 * g)) for g in (0, 1)))
    kept = Solver(choices, secs, parameters).solve(12)
    assert kept == (8, 4)
