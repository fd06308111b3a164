"""What every strategy promises, and the parts they share."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from autotune.strategies.base import ModelGuidedStrategy, SearchStrategy, draw
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
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
def test_nothing_to_decide_with_a_trained_model(name: str) -> None:
    trained = Search(name, SyntheticSpace())
    for _ in range(4):
        trained.round(8)
    space = EmptySpace()
    strategy = strategies.load(name)(space, trained.cost_model, 0)
    assert strategy.propose(1) == [space.default()]


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
