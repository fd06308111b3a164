"""The measurements of a running network: which calls count, how often, and the comparison of two models."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from autotune.searches.network import Call, RunningNetwork
from compiler.program.profile import CallTimes


class Scripted:
    """A compiled model with given times of its calls; counts its runs."""

    def __init__(self, secs: float) -> None:
        self.secs, self.runs = secs, 0
        self.turns: list[int] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> None:
        assert list(inputs) == ["x"]
        self.runs += 1

    def call_secs(self, inputs: Mapping[str, np.ndarray], runs: int) -> list[CallTimes]:
        assert list(inputs) == ["x"]
        self.turns.append(runs)
        noise = [1.0, 3.0, *itertools.repeat(1.0, runs - 2)]
        return [
            CallTimes(name, place, tuple(self.secs * factor for factor in noise), regions=1)
            for name, place in [("vm.builtin.reshape", None), ("conv", 0), ("fused_add", None)]
        ]


INPUTS = {"x": np.zeros(1, np.float32)}


def test_calls_have_their_median_times_without_the_virtual_machines() -> None:
    model = Scripted(1e-3)
    network = RunningNetwork(model, INPUTS)
    assert model.runs == 1, "the first run has one-time costs"
    assert network.calls(model) == [Call(0, 1e-3), Call(None, 1e-3)]


@pytest.mark.parametrize(("secs", "runs"), [(1e-3, 10), (1.0, 3), (1e-6, 200)])
def test_a_turn_has_as_many_runs_as_fit(secs: float, runs: int) -> None:
    model = Scripted(secs)
    RunningNetwork(model, INPUTS).calls(model)
    assert model.turns == [3, runs]


def test_two_models_are_compared_in_the_same_rounds() -> None:
    before, after = Scripted(1e-6), Scripted(1e-6)
    turns = []
    own, other = RunningNetwork(before, INPUTS, rounds=6).compare(before, after, lambda: turns.append(None))
    assert len(own.rounds) == len(other.rounds) == 6
    assert len(turns) == 12
    assert before.runs > 6 < after.runs


def test_an_interruption_ends_the_comparison() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    model = Scripted(1e-6)
    with pytest.raises(KeyboardInterrupt):
        RunningNetwork(model, INPUTS).compare(model, model, interrupt)
