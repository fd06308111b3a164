from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from autotune.strategies.env import NOT_OFFERED_REWARD, ScheduleEnv, ScheduleMdp
from compiler.workloads.schedule import Choice, Schedule
from tests.autotune.synthetic import SyntheticSpace

SPACE = SyntheticSpace()
PAIRS = sum(len(decision.choices) for decision in SPACE.decisions)


def log_secs(schedules: Sequence[Schedule]) -> np.ndarray:
    return np.log([SPACE.secs(schedule) for schedule in schedules])


def env(horizon: int = 8, max_offers: int = PAIRS) -> ScheduleEnv:
    return ScheduleEnv(ScheduleMdp(SPACE, log_secs, [SPACE.default()], horizon, max_offers=max_offers))


def change(decision: str, choice: Choice) -> int:
    """Returns the number of an action."""
    names = [d.name for d in SPACE.decisions]
    i = names.index(decision)
    return sum(len(d.choices) for d in SPACE.decisions[:i]) + SPACE.decisions[i].choices.index(choice)


@pytest.mark.parametrize("max_offers", [4, PAIRS])
def test_gymnasium_accepts_it(max_offers: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*not wrapped with.*|.*spec.*")
        check_env(env(max_offers=max_offers), skip_render_check=True)


def test_mask_is_the_spaces_legality() -> None:
    walker = env()
    rng = np.random.default_rng(0)
    walker.reset(seed=0)
    for _ in range(20):
        start = SPACE.random(rng)
        walker.reset(options={"schedule": start})
        legal = {change(SPACE.decisions[i].name, SPACE.decisions[i].choices[j]) for i, j, _ in SPACE.neighbors(start)}
        assert set(np.flatnonzero(walker.action_masks())) == legal | {PAIRS}


def test_few_offers_are_a_legal_sample() -> None:
    few, all_ = env(max_offers=6), env()
    seen = set()
    rng = np.random.default_rng(0)
    for _ in range(30):
        start = SPACE.random(rng)
        few.reset(options={"schedule": start})
        all_.reset(options={"schedule": start})
        assert few.action_masks().sum() <= 7
        assert not (few.action_masks() & ~all_.action_masks()).any()
        assert (few.action_masks() == few.action_masks()).all()
        seen |= set(np.flatnonzero(few.action_masks()))
    assert len(seen) > PAIRS // 2


def test_an_action_changes_its_decision() -> None:
    walker = env()
    walker.reset(seed=0)
    *_, info = walker.step(np.int64(change("order", "nmk")))
    assert info["schedule"] == SPACE.default().replace(order="nmk")


def test_rewards_sum_to_the_gain_over_the_start() -> None:
    walker = env(horizon=6)
    rng = np.random.default_rng(1)
    for episode in range(10):
        start = SPACE.random(rng)
        walker.reset(seed=episode, options={"schedule": start})
        total, ended, steps, info = 0.0, False, 0, {}
        while not ended:
            action = rng.choice(np.flatnonzero(walker.action_masks()[:-1]))
            _, reward, ended, truncated, info = walker.step(action)
            assert not truncated
            total += reward
            steps += 1
        assert steps == 6
        assert total == pytest.approx(np.log(SPACE.secs(start) / SPACE.secs(info["schedule"])))


def test_stop_ends_and_changes_nothing() -> None:
    walker = env()
    walker.reset(seed=0)
    _, reward, ended, _, info = walker.step(np.int64(PAIRS))
    assert (reward, ended, info["schedule"]) == (0.0, True, SPACE.default())


def test_an_action_that_is_not_offered_changes_nothing() -> None:
    walker = env()
    walker.reset(seed=0)
    illegal = int(np.flatnonzero(~walker.action_masks())[0])
    _, reward, ended, _, info = walker.step(np.int64(illegal))
    assert (reward, ended, info["schedule"]) == (NOT_OFFERED_REWARD, False, SPACE.default())


def test_observation_shows_progress_and_slowdown() -> None:
    better = SPACE.default().replace(rows=8)
    walker = ScheduleEnv(ScheduleMdp(SPACE, log_secs, [SPACE.default(), better], horizon=4, max_offers=PAIRS))
    first, _ = walker.reset(options={"schedule": SPACE.default()})
    assert first[-2] == 0
    assert first[-1] == pytest.approx(np.log(SPACE.secs(SPACE.default()) / SPACE.secs(better)), rel=1e-5)
    second, *_ = walker.step(np.int64(change("rows", 8)))
    assert second[-2] == 0.25
    assert second[-1] == 0


def test_each_schedule_is_computed_once_until_the_next_begin() -> None:
    computed: list[Schedule] = []

    def counting(schedules: Sequence[Schedule]) -> np.ndarray:
        computed.extend(schedules)
        return log_secs(schedules)

    mdp = ScheduleMdp(SPACE, counting, [SPACE.default()], horizon=4)
    states = np.array([SPACE.choices(SPACE.default())] * 3)
    mdp.log_secs(states)
    assert computed == mdp.visited == [SPACE.default()]
    mdp.begin([SPACE.default()])
    assert computed == [SPACE.default()] * 2
