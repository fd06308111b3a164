"""The selection of schedules inside a network whose times are a formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from autotune.commands.graph_command import verdict
from autotune.searches import graph_search
from autotune.searches.graph_candidates import Candidate
from autotune.searches.graph_search import GraphOutcome, search_graph
from autotune.searches.network import Call
from compiler.measure.sampling import Samples
from compiler.workloads.layer import Layer
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload
from tests.autotune.tiny_model import dense_layer

A, B = Workload.dense(8, 8, 8), Workload.dense(9, 9, 9)
DEFAULT = Schedule("kernel", {"s": "default"})


def schedule(name: str) -> Schedule:
    return Schedule("kernel", {"s": name})


class FormulaModel:
    """Layers a, b and a again, with a call of generated code after each of them.

    ``own`` returns the seconds of a layer by its schedule and threads, ``after`` those of the call after it. ``trap``
    is the name of a schedule that makes entire runs slower.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        own: Callable[[str, int], float],
        after: Callable[[str], float],
        trap: str | None = None,
    ) -> None:
        self.layers, self.own, self.after, self.trap = tuple(layers), own, after, trap

    def with_layers(self, changed: Mapping[int, Layer]) -> FormulaModel:
        layers = [changed.get(place, layer) for place, layer in enumerate(self.layers)]
        return FormulaModel(layers, self.own, self.after, self.trap)

    def schedules(self) -> list[Schedule]:
        return [layer.schedule or DEFAULT for layer in self.layers]

    def calls(self) -> list[Call]:
        calls = []
        for place, (layer, chosen) in enumerate(zip(self.layers, self.schedules(), strict=True)):
            name = str(chosen.values["s"])
            calls += [Call(place, self.own(name, layer.threads)), Call(None, self.after(name))]
        return calls

    def run_secs(self) -> float:
        slow = self.trap is not None and schedule(self.trap) in self.schedules()
        return sum(call.secs for call in self.calls()) + (5.0 if slow else 0.0)


class FormulaNetwork:
    """Measures :class:`FormulaModel` with log-normal noise; implements :class:`autotune.searches.network.Network`."""

    def __init__(self, noise: float) -> None:
        self.noise, self.rng = noise, np.random.default_rng(0)

    def noisy(self, secs: float) -> float:
        return secs * float(self.rng.lognormal(0, self.noise))

    def calls(self, model: FormulaModel) -> list[Call]:
        return [dataclasses.replace(call, secs=self.noisy(call.secs)) for call in model.calls()]

    def compare(
        self, before: FormulaModel, after: FormulaModel, interrupted: Callable[[], None]
    ) -> tuple[Samples, Samples]:
        rounds = []
        for _ in range(20):
            interrupted()
            rounds.append([(self.noisy(m.run_secs()), self.noisy(m.run_secs())) for m in (before, after)])
        own, other = zip(*rounds, strict=True)
        return Samples(tuple(own)), Samples(tuple(other))


def formula_model(
    own: Mapping[str, float],
    after: Mapping[str, float] | None = None,
    threads: Callable[[int], float] = lambda _: 1.0,
    trap: str | None = None,
) -> FormulaModel:
    layers = [dense_layer(name, w, threads=2) for name, w in [("x", A), ("y", B), ("z", A)]]
    return FormulaModel(
        layers, lambda name, count: own[name] * threads(count), lambda name: (after or {}).get(name, 1.0), trap
    )


def offering(*names: str, threads: int = 2) -> Callable[[Workload, int], list[Candidate]]:
    return lambda _workload, _threads: [Candidate(schedule(name), threads) for name in names]


def chosen(outcome: GraphOutcome) -> dict[Workload, str]:
    return {trial.workload: str(trial.after.schedule.values["s"]) for trial in outcome.workloads}


def test_the_fastest_is_kept_and_all_layers_of_a_workload_change_together() -> None:
    model = formula_model({"default": 10, "good": 8, "best": 6, "bad": 12})
    outcome = search_graph(model, FormulaNetwork(0.01), offering("bad", "good", "best"))
    assert chosen(outcome) == {A: "best", B: "best"}
    assert [layer.schedule for layer in outcome.model.layers] == [schedule("best")] * 3
    assert [trial.places for trial in outcome.workloads] == [(0, 2), (1,)]
    assert [trial.tried for trial in outcome.workloads] == [3, 3]
    assert outcome.workloads[0].share == pytest.approx(20 / 33, rel=0.05)
    for trial in outcome.changed:
        assert trial.gain
        assert trial.gain.low <= trial.gain.median <= trial.gain.high
        assert trial.gain.median == pytest.approx(4 / 11, rel=0.1)
    assert outcome.comparison
    assert outcome.comparison.gain.median == pytest.approx(12 / 33, rel=0.1)
    assert outcome.holds


def test_a_schedule_that_costs_the_next_call_more_than_it_saves_is_rejected() -> None:
    model = formula_model({"default": 10, "selfish": 9}, {"default": 1, "selfish": 3})
    outcome = search_graph(model, FormulaNetwork(0.01), offering("selfish"))
    assert chosen(outcome) == {A: "default", B: "default"}
    assert (outcome.changed, outcome.comparison, outcome.holds) == ((), None, False)
    assert "stay as they are" in verdict(outcome)


def test_a_gain_within_the_noise_is_not_accepted() -> None:
    model = formula_model({"default": 10, **dict.fromkeys("abc", 10)})
    assert search_graph(model, FormulaNetwork(0.2), offering("a", "b", "c")).changed == ()


def test_threads_are_chosen_as_well() -> None:
    model = formula_model({"default": 10}, threads=lambda count: {1: 0.7, 2: 1.0}[count])
    outcome = search_graph(model, FormulaNetwork(0.01), lambda *_: [Candidate(None, 2), Candidate(None, 1)])
    assert [trial.tried for trial in outcome.workloads] == [1, 1], "the present choice is not a candidate"
    assert {trial.after.threads for trial in outcome.workloads} == {1}
    assert {layer.threads for layer in outcome.model.layers} == {1}


def test_what_the_entire_network_does_not_confirm_does_not_hold() -> None:
    class Unconfirming(FormulaNetwork):
        def compare(
            self,
            before: FormulaModel,  # noqa: ARG002
            after: FormulaModel,  # noqa: ARG002
            interrupted: Callable[[], None],  # noqa: ARG002
        ) -> tuple[Samples, Samples]:
            same = Samples(tuple((1.0 + 0.01 * i,) for i in range(20)))
            return same, same

    outcome = search_graph(formula_model({"default": 10, "best": 6}), Unconfirming(0.01), offering("best"))
    assert outcome.changed
    assert not outcome.holds
    assert "within chance, so the schedules stay as they are" in verdict(outcome)


def test_a_candidate_as_fast_as_the_default_rarely_holds() -> None:
    """Each of 20 networks has noise and candidates of equal speed."""
    held = 0
    model = formula_model({"default": 10, **dict.fromkeys("abcd", 10)})
    for seed in range(20):
        network = FormulaNetwork(0.05)
        network.rng = np.random.default_rng(seed)
        held += search_graph(model, network, offering(*"abcd")).holds
    assert held < 3


def test_layers_with_a_negligible_share_are_not_tried() -> None:
    model = formula_model({"default": 1e-3, "best": 1e-6}, {"default": 1, "best": 1})
    assert [trial.tried for trial in search_graph(model, FormulaNetwork(0.01), offering("best")).workloads] == [0, 0]


def test_a_network_that_is_faster_with_defaults_starts_from_them() -> None:
    model = formula_model({"default": 2.0, "lucky": 2.2, "good": 1.0})
    lucky = {place: layer.scheduled(schedule("lucky")) for place, layer in enumerate(model.layers)}
    outcome = search_graph(
        model.with_layers(lucky), FormulaNetwork(0.0), lambda w, _: [Candidate(schedule("good"), 2)] if w == B else []
    )
    assert outcome.holds
    changed = {trial.workload: (trial.before.schedule, trial.after.schedule) for trial in outcome.changed}
    assert changed == {A: (schedule("lucky"), DEFAULT), B: (schedule("lucky"), schedule("good"))}


def test_defaults_stay_if_what_is_faster_alone_is_slower_together() -> None:
    plain = formula_model({"default": 2.0, "lucky": 2.2, "trap": 1.0}, trap="trap")
    model = plain.with_layers({p: layer.scheduled(schedule("lucky")) for p, layer in enumerate(plain.layers)})
    outcome = search_graph(model, FormulaNetwork(0.0), lambda w, _: [Candidate(schedule("trap"), 2)] if w == B else [])
    assert outcome.holds
    assert {trial.after.schedule for trial in outcome.workloads} == {DEFAULT}
    assert outcome.model.schedules() == [DEFAULT] * 3


def test_an_interruption_is_checked_between_turns() -> None:
    turns = []

    def interrupt() -> None:
        turns.append(None)
        if len(turns) == 5:
            raise KeyboardInterrupt

    model, network = formula_model({"default": 10, "best": 6}), FormulaNetwork(0.01)
    with pytest.raises(KeyboardInterrupt):
        search_graph(model, network, offering("best"), raise_if_interrupted=interrupt)
    assert len(turns) == 5


def test_only_sites_that_share_no_call_are_tried_together() -> None:
    calls = [Call(0, 5.0), Call(1, 4.0), Call(None, 1.0), Call(2, 3.0), Call(None, 1.0), Call(3, 2.0)]
    layers = [dense_layer(str(n), Workload.dense(1, 1, n + 1), threads=1) for n in range(4)]
    sites = graph_search._sites(FormulaModel(layers, lambda *_: 1.0, lambda _: 1.0), calls)
    assert [sorted(site.calls) for site in sites] == [[0, 1], [1, 2], [3, 4], [5]]
    groups = graph_search._disjoint(sites)
    assert [[site.places for site in group] for group in groups] == [[(0,), (2,), (3,)], [(1,)]]
