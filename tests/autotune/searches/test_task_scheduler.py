"""Trials on synthetic tasks, whose best time is a known function of their trials."""

from __future__ import annotations

import math

import pytest

from autotune.searches.task_scheduler import Standing, slice_of, spend


class SyntheticTasks:
    """Tasks that fall from ``start`` towards ``floor`` as ``1 / (1 + trials / pace)``; each has ``most`` schedules."""

    def __init__(self, *tasks: tuple[int, float, float], pace: float = 8.0, most: int = 10**6) -> None:
        self.tasks, self.pace, self.most = tasks, pace, most
        self.spent = [0] * len(tasks)
        self.order: list[tuple[int, int]] = []
        self.standings = [Standing(count, floor, start, 1) for count, start, floor in tasks]

    def secs(self, task: int, trials: int) -> float:
        _, start, floor = self.tasks[task]
        return floor + (start - floor) / (1 + trials / self.pace)

    def step(self, task: int, trials: int) -> tuple[int, float]:
        self.order.append((task, trials))
        made = min(trials, self.most - self.spent[task])
        self.spent[task] += made
        return made, self.secs(task, self.spent[task])

    def total(self) -> float:
        return sum(task[0] * self.secs(i, self.spent[i]) for i, task in enumerate(self.tasks))


def test_every_trial_is_spent_and_counted() -> None:
    tasks = SyntheticTasks((1, 2.0, 1.0), (3, 2.0, 1.0))
    spend(tasks.standings, 50, 16, tasks.step)
    assert sum(tasks.spent) == 50
    assert sorted(trials for _, trials in tasks.order) == [2, 16, 16, 16]
    for task, standing in enumerate(tasks.standings):
        assert standing.trials == 1 + tasks.spent[task]
        assert standing.best_secs == tasks.secs(task, tasks.spent[task])


def test_a_more_frequent_task_gets_more_trials() -> None:
    tasks = SyntheticTasks((1, 2.0, 1.0), (8, 2.0, 1.0))
    spend(tasks.standings, 160, 8, tasks.step)
    assert tasks.order[0][0] == 1
    assert tasks.spent[1] > tasks.spent[0] > 0


def test_a_task_near_its_limit_gets_fewer_trials() -> None:
    tasks = SyntheticTasks((1, 1.05, 1.0), (1, 1.05, 0.5))
    spend(tasks.standings, 160, 8, tasks.step)
    assert tasks.spent[1] > tasks.spent[0]


def test_of_two_alike_the_one_that_gained_lately_goes_first() -> None:
    stuck, gaining = Standing(1, 1.0, 2.0, 9), Standing(1, 1.0, 2.0, 9, rate=0.01)
    assert gaining.expected_gain > stuck.expected_gain


def test_it_beats_even_shares_on_unequal_tasks() -> None:
    tasks = [(1, 0.1, 0.05), (5, 3.0, 1.0), (2, 1.0, 0.9), (10, 0.2, 0.1), (1, 4.0, 1.0)]
    chosen, even = SyntheticTasks(*tasks), SyntheticTasks(*tasks)
    spend(chosen.standings, 200, 8, chosen.step)
    for task in range(len(tasks)):
        even.step(task, 40)
    assert sum(chosen.spent) == sum(even.spent)
    assert chosen.total() < even.total()


def test_it_ends_when_every_space_is_exhausted() -> None:
    tasks = SyntheticTasks((1, 2.0, 1.0), (1, 3.0, 1.0), most=10)
    spend(tasks.standings, 1000, 8, tasks.step)
    assert tasks.spent == [10, 10]
    assert all(standing.exhausted for standing in tasks.standings)


def test_a_task_that_never_succeeds_is_tried_first_and_once() -> None:
    standings = [Standing(1, 1.0, 2.0, 1), Standing(1, 1.0, math.inf, 1)]
    order = []

    def step(task: int, trials: int) -> tuple[int, float]:
        order.append(task)
        return trials, 2.0 if task == 0 else math.inf

    spend(standings, 40, 8, step)
    assert order == [1, 0, 0, 0, 0]


def test_the_rate_is_that_of_the_last_slice() -> None:
    standing = Standing(2, 0.5, 3.0, 1)
    standing.advance(8, 8, 1.4)
    assert standing.rate == pytest.approx(0.2)
    assert standing.expected_gain == pytest.approx(2 * (0.2 * 0.2 + 0.8 * 0.9 / 9))
    standing.advance(8, 8, 1.4)
    assert standing.rate == 0


def test_slices_suit_the_budget() -> None:
    assert slice_of(32 * 24, 24) == 16
    assert slice_of(200, 24) == 4
    assert slice_of(10**6, 3) == 16
