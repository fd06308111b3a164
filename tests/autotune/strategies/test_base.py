"""What the strategies share: drawing, spreading and picking schedules."""

from __future__ import annotations

import numpy as np

from autotune.strategies.base import draw, pick_alternately, spread
from compiler.workloads.schedule import Decision, Schedule
from tests.autotune.synthetic import SyntheticSpace, TinySpace, every


def test_draw_is_uniform_over_legal_schedules() -> None:
    space, rng = TinySpace(), np.random.default_rng(0)
    drawn = [draw(space, rng, 1, ())[0] for _ in range(2000)]
    counts = np.array([drawn.count(s) for s in every(space)])
    assert counts.sum() == 2000
    # Pearson's chi-square with 9 degrees of freedom exceeds 33.7 once in 10,000 times.
    assert ((counts - 200) ** 2 / 200).sum() < 33.7


def test_draw_finds_rare_schedules_in_a_large_space() -> None:
    class Narrow(SyntheticSpace):
        """Legal schedules differ from the default in at most one decision: one in millions."""

        decisions = tuple(Decision(f"d{i}", tuple(range(8))) for i in range(8))

        def is_legal(self, schedule: Schedule) -> bool:
            return sum(choice != 0 for choice in schedule.values.values()) <= 1

        def default(self) -> Schedule:
            return self.schedule([0] * 8)

    space = Narrow()
    drawn = draw(space, np.random.default_rng(0), 100, {space.default()})
    assert len(set(drawn)) == 8 * 7
    assert all(map(space.is_legal, drawn))


def test_spread_prefers_different_schedules() -> None:
    space = SyntheticSpace()
    same = [space.default(), space.default().replace(prefetch=1), space.default().replace(prefetch=2)]
    far = space.schedule((1, 2, 3, 3, 4, 5))
    assert spread(space, [*same, far], 2) == [same[0], far]


def test_rows_pick_alternately() -> None:
    assert pick_alternately(np.array([[3.0, 1.0, 2.0, 4.0], [1.0, 0.0, 5.0, 2.0]]), 3) == [1, 0, 2]
    assert sorted(pick_alternately(np.zeros((2, 3)), 9)) == [0, 1, 2]
    assert pick_alternately(np.zeros((2, 0)), 3) == []
