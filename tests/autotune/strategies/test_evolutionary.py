"""Evolutionary search finds the optimum of a synthetic space sooner than random search."""

from __future__ import annotations

import math
import statistics

from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from tests.autotune.synthetic import SyntheticSpace

SEEDS = range(3)
TRIALS = 128
SPACE = SyntheticSpace()


def trials_to_optimum(name: str, seed: int, within: float = 1.02) -> float:
    """Returns the trials until a schedule within 2 % of the optimum is measured, or inf beyond ``TRIALS``."""
    cost_model = CostModel(seed)
    strategy = strategies.load(name)(SPACE, cost_model, seed)
    for trials in range(8, TRIALS + 1, 8):
        records = [SPACE.record(schedule) for schedule in strategy.propose(8)]
        if min(record.measurement.median_secs for record in records) <= within * SPACE.optimum_secs:
            return trials
        cost_model.update(records)
        strategy.observe([r.schedule for r in records], [r.measurement for r in records])
    return math.inf


def test_it_finds_the_optimum_sooner_than_chance() -> None:
    evolutionary = statistics.median(trials_to_optimum("evolutionary", seed) for seed in SEEDS)
    chance = statistics.median(trials_to_optimum("random", seed) for seed in SEEDS)
    assert evolutionary < TRIALS
    assert evolutionary < chance
