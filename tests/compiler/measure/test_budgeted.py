"""How often an implementation is timed within a budget."""

from __future__ import annotations

import pytest

from compiler.measure.budgeted import Timing, sample


class ScriptedLoop:
    """Takes the given seconds, one per sample, and the last of them for all further samples."""

    def __init__(self, *secs: float) -> None:
        self.secs = list(secs)
        self.calls: list[tuple[int, int]] = []

    def __call__(self, number: int, repeat: int) -> list[float]:
        self.calls.append((number, repeat))
        return [self.secs.pop(0) if len(self.secs) > 1 else self.secs[0] for _ in range(repeat)]


def test_short_runs_are_timed_together() -> None:
    loop = ScriptedLoop(1e-5)
    assert sample(loop, Timing(sample_secs=1e-3, samples=7), None) == [1e-5] * 7
    assert loop.calls == [(1, 1), (100, 7)]


def test_long_runs_are_timed_less_often_but_never_below_the_minimum() -> None:
    loop = ScriptedLoop(0.01)
    assert sample(loop, Timing(samples=9, min_samples=3, budget_secs=0.05), None) == [0.01] * 5
    loop = ScriptedLoop(0.1)
    assert sample(loop, Timing(samples=9, min_samples=3, budget_secs=0.05), None) == [0.1] * 3


@pytest.mark.parametrize(("secs", "samples"), [(0.049, 3), (0.051, 1)])
def test_a_candidate_beyond_the_slow_factor_is_timed_once(secs: float, samples: int) -> None:
    loop = ScriptedLoop(secs)
    assert sample(loop, Timing(slow_factor=5, budget_secs=0.03), best_secs=0.01) == [secs] * samples


def test_a_slow_candidate_that_costs_nothing_is_timed_in_full() -> None:
    loop = ScriptedLoop(1e-4)
    assert len(sample(loop, Timing(samples=7, budget_secs=0.03), best_secs=1e-6)) == 7


def test_unsteady_samples_are_taken_again_and_all_are_kept() -> None:
    loop = ScriptedLoop(1e-3, 2e-3, 2e-3, 1e-3)
    samples = sample(loop, Timing(sample_secs=1e-3, samples=3, spread=0.05, budget_secs=0.05), None)
    assert samples == [1e-3, 2e-3, 2e-3, 1e-3, 1e-3, 1e-3]
    loop = ScriptedLoop(1e-3, 2e-3, 2e-3, 1e-3)
    assert sample(loop, Timing(sample_secs=1e-3, samples=3, spread=2.0, budget_secs=0.05), None) == samples[:3]
