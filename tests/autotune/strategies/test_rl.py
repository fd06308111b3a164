"""The agent learns: its policy improves by training, and searching with it beats drawing at random."""

from __future__ import annotations

import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sb3_contrib import MaskablePPO

from autotune import strategies
from autotune.cost_models.xgboost import CostModel
from autotune.strategies.base import draw
from autotune.strategies.env import ScheduleEnv
from autotune.strategies.rl import RlStrategy
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.autotune.synthetic import SyntheticSpace

SEEDS = range(3)
TRIALS = 128
SPACE = SyntheticSpace()


class Oracle(CostModel):
    """Predicts the true times, so that the test is about the agent only."""

    def predict(self, workload: Workload, target: Target, schedules: Sequence[Schedule]) -> np.ndarray:  # noqa: ARG002
        return np.log([SPACE.secs(schedule) for schedule in schedules])


def mean_return(agent: MaskablePPO, env: ScheduleEnv, starts: Sequence[Schedule]) -> float:
    """Mean gain in log seconds of greedy episodes."""
    total = 0.0
    for start in starts:
        observation, _ = env.reset(options={"schedule": start})
        ended = False
        while not ended:
            action, _ = agent.predict(observation, action_masks=env.action_masks(), deterministic=True)
            observation, reward, ended, *_ = env.step(np.int64(action))
            total += reward
    return total / len(starts)


def test_training_leaves_no_folder_of_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    strategy = RlStrategy(SPACE, Oracle(), seed=0)
    strategy.mdp.begin([SPACE.default()])
    strategy.train(updates=1)
    assert not list(tmp_path.glob("SB3*"))  # torch has its own cache there


def test_training_improves_the_policy() -> None:
    strategy = RlStrategy(SPACE, Oracle(), seed=0)
    starts = draw(SPACE, np.random.default_rng(1), 32, ())
    strategy.mdp.begin(draw(SPACE, np.random.default_rng(2), 64, starts))
    env = ScheduleEnv(strategy.mdp)
    before = mean_return(strategy.train(updates=0), env, starts)
    after = mean_return(strategy.train(updates=40), env, starts)
    possible = statistics.mean(math.log(SPACE.secs(start) / SPACE.optimum_secs) for start in starts)
    assert after > before + 0.2
    assert after > 0.6 * possible


def trials_to_optimum(name: str, seed: int, within: float = 1.02) -> float:
    """Trials until a schedule within 2 % of the optimum was measured; inf if that takes more than ``TRIALS``."""
    cost_model = CostModel(seed)
    strategy = strategies.load(name)(SPACE, cost_model, seed)
    trials = 0
    while trials < TRIALS:
        records = [SPACE.record(schedule) for schedule in strategy.propose(8)]
        for record in records:
            trials += 1
            if record.measurement.median_secs <= within * SPACE.optimum_secs:
                return trials
        cost_model.update(records)
        strategy.observe([r.schedule for r in records], [r.measurement for r in records])
    return math.inf


def test_agent_finds_the_optimum_sooner_than_chance() -> None:
    agent = statistics.median(trials_to_optimum("rl", seed) for seed in SEEDS)
    chance = statistics.median(trials_to_optimum("random", seed) for seed in SEEDS)
    assert agent < TRIALS
    assert agent < chance
