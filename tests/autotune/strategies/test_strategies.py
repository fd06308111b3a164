"""What every strategy promises, and the parts they share."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from autotune.strategies.base import ModelGuidedStrategy, SearchStrategy, draw, spread, take_turns
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Decision, Schedule
from tests.autotune.synthetic import EmptySpace, SyntheticSpace, TinySpace, every

NAMES = list(strategies.STRATEGIES)


class Search:
    """The tuner's loop without its measuring."""

    def __init__(self, name: str, space: SyntheticSpace, seed: int = 0, failing: bool = False) -> None:
        self.space, self.failing = space, failing
        self.cost_model = CostModel(seed)
        self.strategy: SearchStrategy = strategies.load(name)(space, self.cost_model, seed)
        self.proposed: list[Schedule] = []

    def round(self, n: int) -> list[Schedule]:
        schedules = self.strategy.propose(n)
        measurements = [
            Measurement((), "crash") if self.failing else Measurement((self.space.secs(s),)) for s in schedules
        ]
        self.cost_model.update(
            Record(self.space.workload, self.space.target, s, m) for s, m in zip(schedules, measurements, strict=True)
        )
        self.strategy.observe(schedules, measurements)
        self.proposed += schedules
        return schedules


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("failing", [False, True])
def test_proposals_are_new_and_legal(name: str, failing: bool) -> None:
    space = SyntheticSpace()
    search = Search(name, space, failing=failing)
    for n in (1, 12, 8, 8):
        assert len(search.round(n)) == n
    assert len(set(search.proposed)) == 29
    assert all(map(space.is_legal, search.proposed))


@pytest.mark.parametrize("name", NAMES)
def test_a_small_space_is_used_up_exactly(name: str) -> None:
    space = TinySpace()
    search = Search(name, space)
    sizes = [len(search.round(4)) for _ in range(4)]
    assert sizes == [4, 4, 2, 0]
    assert set(search.proposed) == set(every(space))


@pytest.mark.parametrize("name", NAMES)
def test_more_than_there_are(name: str) -> None:
    assert set(Search(name, TinySpace()).round(100)) == set(every(TinySpace()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_to_decide(name: str) -> None:
    space = EmptySpace()
    search = Search(name, space)
    assert search.round(8) == [space.default()]
    assert search.round(8) == []


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_and_measurements_same_proposals(name: str) -> None:
    proposals = []
    for seed, disturbance in ((5, 0), (5, 1), (6, 0)):
        search = Search(name, SyntheticSpace(), seed)
        for _ in range(3):
            random.seed(disturbance)
            np.random.seed(disturbance)
            torch.manual_seed(disturbance)
            search.round(8)
        proposals.append(search.proposed)
    assert proposals[0] == proposals[1]
    assert proposals[0] != proposals[2]


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_programs_randomness_alone(name: str) -> None:
    search = Search(name, SyntheticSpace())
    threads = torch.get_num_threads()
    draws = []
    for propose in (False, True):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if propose:
            search.round(8)
            search.round(8)
        draws.append((random.random(), np.random.random(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("name", NAMES)
def test_history_is_not_proposed_again(name: str) -> None:
    space = TinySpace()
    history = [(s, Measurement((space.secs(s),))) for s in every(space)[3:]]
    strategy = strategies.load(name)(space, CostModel(), 0, history)
    assert set(strategy.propose(8)) == set(every(space)[:3])


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(strategies.load(name), ModelGuidedStrategy)])
class TestModelGuided:
    def test_starts_with_the_default(self, name: str) -> None:
        assert Search(name, SyntheticSpace()).round(8)[0] == SyntheticSpace().default()

    def test_trusts_a_model_that_earlier_searches_trained(self, name: str) -> None:
        space = SyntheticSpace()
        search = Search(name, space)
        search.cost_model.update(map(space.record, draw(space, np.random.default_rng(1), 200, ())))
        first = [space.secs(s) for s in search.round(8)[1:]]
        assert np.median(first) < np.quantile([space.secs(s) for s in every(space)], 0.02)

    def test_needs_a_model(self, name: str) -> None:
        with pytest.raises(ValueError, match="cost model"):
            strategies.load(name)(SyntheticSpace(), None, 0)


def test_unknown_strategy_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="unknown strategy 'annealing'; choose from: rl, evolutionary, random"):
        strategies.load("annealing")


def test_draw_is_uniform_over_what_is_legal() -> None:
    space, rng = TinySpace(), np.random.default_rng(0)
    drawn = [draw(space, rng, 1, ())[0] for _ in range(2000)]
    counts = np.array([drawn.count(s) for s in every(space)])
    assert counts.sum() == 2000
    # Pearson's chi-square with 9 degrees of freedom exceeds 33.7 once in 10,000 times.
    assert ((counts - 200) ** 2 / 200).sum() < 33.7


def test_draw_finds_rare_schedules_in_a_large_space() -> None:
    class Narrow(SyntheticSpace):
        """Legal is what differs from the default in one decision at most: one in millions."""

        decisions = tuple(Decision(f"d{i}", tuple(range(8))) for i in range(8))

        def is_legal(self, schedule: Schedule) -> bool:
            return sum(choice != 0 for choice in schedule.values.values()) <= 1

        def default(self) -> Schedule:
            return self.schedule([0] * 8)

    space = Narrow()
    drawn = draw(space, np.random.default_rng(0), 100, {space.default()})
    assert len(set(drawn)) == 8 * 7
    assert all(map(space.is_legal, drawn))


def test_spread_prefers_what_differs() -> None:
    space = SyntheticSpace()
    same = [space.default(), space.default().replace(prefetch=1), space.default().replace(prefetch=2)]
    far = space.schedule((1, 2, 3, 3, 4, 5))
    assert spread(space, [*same, far], 2) == [same[0], far]


def test_take_turns_lets_each_row_choose() -> None:
    assert take_turns(np.array([[3.0, 1.0, 2.0, 4.0], [1.0, 0.0, 5.0, 2.0]]), 3) == [1, 0, 2]
    assert sorted(take_turns(np.zeros((2, 3)), 9)) == [0, 1, 2]
    assert take_turns(np.zeros((2, 0)), 3) == []
