"""The choice of schedules inside a network: one whose times are a formula; then a real one."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autotune import search
from autotune.commands.graph_command import difference, merged, verdict
from autotune.searches import graph_search
from autotune.searches.graph_candidates import Candidate
from autotune.searches.graph_search import Call, Outcome, search_graph
from compiler.measure import sampling as bench
from compiler.workloads.layer import Layer
from compiler.workloads.records import Choice, Records, model_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores
from compiler.workloads.workload import Workload
from tests.autotune.tiny_model import CLASSIFIER, CONVOLUTION, WORKLOADS, save_tiny_model, tiny_model

A, B = Workload.dense(8, 8, 8), Workload.dense(9, 9, 9)
DEFAULT = Schedule("kernel", {"s": "default"})


def schedule(name: str) -> Schedule:
    return Schedule("kernel", {"s": name})


class FormulaModel:
    """Layers a, b and a again, and a call of generated code after each of them.

    ``own`` is what a layer takes by its schedule and threads, ``after`` what the call after it does.
    """

    inputs = ()

    def __init__(self, layers: Sequence[Layer], own: Callable[..., float], after: Callable[..., float]) -> None:
        self.layers, self.own, self.after = tuple(layers), own, after

    def with_layers(self, changed: Mapping[int, Layer]) -> FormulaModel:
        layers = [changed.get(place, layer) for place, layer in enumerate(self.layers)]
        return type(self)(layers, self.own, self.after)

    def schedules(self) -> list[Schedule]:
        return [layer.schedule or DEFAULT for layer in self.layers]

    def calls(self) -> list[Call]:
        calls = []
        for place, (layer, chosen) in enumerate(zip(self.layers, self.schedules(), strict=True)):
            name = str(chosen.values["s"])
            calls += [Call(place, self.own(name, layer.threads)), Call(-1, self.after(name, layer.threads))]
        return calls

    def run(self, _: object) -> float:
        return sum(call.secs for call in self.calls())


def network(
    own: Mapping[str, float], after: Mapping[str, float] | None = None, threads: Callable[[int], float] = lambda _: 1.0
) -> Any:
    layers = [Layer(name, "dense", (1,), {}, workload=w, threads=2) for name, w in [("x", A), ("y", B), ("z", A)]]
    return FormulaModel(
        layers, lambda name, count: own[name] * threads(count), lambda name, _: (after or {}).get(name, 1)
    )


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Puts formulas in the place of clocks; called with a size, adds noise of it."""
    rng, size = np.random.default_rng(0), [0.0]

    def noisy(secs: float) -> float:
        return secs * float(rng.lognormal(0, size[0]))

    class FormulaNetwork:
        def __init__(self, *_: object) -> None:
            pass

        def calls(self, model: FormulaModel) -> list[Call]:
            return [dataclasses.replace(call, secs=noisy(call.secs)) for call in model.calls()]

    def measure(runs: Mapping[str, Callable[[], Any]], *_: object, **__: object) -> dict[str, bench.Samples]:
        rounds = {name: [(noisy(run()), noisy(run())) for _ in range(20)] for name, run in runs.items()}
        return {name: bench.Samples(tuple(of)) for name, of in rounds.items()}

    monkeypatch.setattr(graph_search, "Network", FormulaNetwork)
    monkeypatch.setattr(bench, "measure", measure)
    return lambda wanted: size.__setitem__(0, wanted)


def offering(*names: str, threads: int = 2) -> Callable[[Workload, int], list[Candidate]]:
    return lambda _workload, _threads: [Candidate(schedule(name), threads) for name in names]


def chosen(outcome: Outcome) -> dict[Workload, str]:
    return {trial.workload: str(trial.after.schedule.values["s"]) for trial in outcome.trials}


def test_the_fastest_is_kept_and_all_layers_of_a_workload_change_together(noise: Callable[[float], None]) -> None:
    noise(0.01)
    model = network({"default": 10, "good": 8, "best": 6, "bad": 12})
    outcome = search_graph(model, {}, offering("bad", "good", "best"))
    assert chosen(outcome) == {A: "best", B: "best"}
    assert [layer.schedule for layer in outcome.model.layers] == [schedule("best")] * 3
    assert [trial.places for trial in outcome.trials] == [(0, 2), (1,)]
    assert [trial.tried for trial in outcome.trials] == [3, 3]
    assert outcome.trials[0].share == pytest.approx(20 / 33, rel=0.05)
    for trial in outcome.changed:
        assert trial.gain
        assert trial.gain.low <= trial.gain.median <= trial.gain.high
        assert trial.gain.median == pytest.approx(4 / 11, rel=0.1)
    assert outcome.comparison
    assert outcome.comparison.gain.median == pytest.approx(12 / 33, rel=0.1)
    assert outcome.holds


def test_what_costs_the_call_after_it_more_than_it_saves_is_refused(noise: Callable[[float], None]) -> None:
    noise(0.01)
    model = network({"default": 10, "selfish": 9}, {"default": 1, "selfish": 3})
    outcome = search_graph(model, {}, offering("selfish"))
    assert chosen(outcome) == {A: "default", B: "default"}
    assert (outcome.changed, outcome.comparison, outcome.holds) == ((), None, False)
    assert "nothing is changed" in verdict(outcome)


def test_a_gain_within_the_noise_is_refused(noise: Callable[[float], None]) -> None:
    noise(0.2)
    model = network({"default": 10, **dict.fromkeys("abc", 10)})
    assert search_graph(model, {}, offering("a", "b", "c")).changed == ()


def test_threads_are_chosen_as_well(noise: Callable[[float], None]) -> None:
    noise(0.01)
    model = network({"default": 10}, threads=lambda count: {1: 0.7, 2: 1.0}[count])
    outcome = search_graph(model, {}, lambda _workload, _threads: [Candidate(None, 2), Candidate(None, 1)])
    assert [trial.tried for trial in outcome.trials] == [1, 1], "what the layers run by already is no candidate"
    assert {trial.after.threads for trial in outcome.trials} == {1}
    assert {layer.threads for layer in outcome.model.layers} == {1}


def test_what_the_whole_network_does_not_confirm_does_not_hold(
    noise: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise(0.01)
    same = bench.Samples(tuple((1.0 + 0.01 * i,) for i in range(20)))
    monkeypatch.setattr(bench, "measure", lambda runs, *_, **__: dict.fromkeys(runs, same))
    outcome = search_graph(network({"default": 10, "best": 6}), {}, offering("best"))
    assert outcome.changed
    assert not outcome.holds
    assert "no more than chance, so the schedules stay as they were" in verdict(outcome)


def test_layers_that_take_next_to_nothing_are_left(noise: Callable[[float], None]) -> None:
    noise(0.01)
    model = network({"default": 1e-3, "best": 1e-6}, {"default": 1, "best": 1})
    assert [trial.tried for trial in search_graph(model, {}, offering("best")).trials] == [0, 0]


def test_a_network_that_is_faster_by_defaults_goes_back_to_them(noise: Callable[[float], None]) -> None:
    noise(0.0)
    own = {"default": 2.0, "lucky": 2.2, "good": 1.0}
    model = network(own)
    lucky = {place: layer.scheduled(schedule("lucky")) for place, layer in enumerate(model.layers)}
    outcome = search_graph(
        model.with_layers(lucky), {}, lambda w, _: [Candidate(schedule("good"), 2)] if w == B else []
    )
    assert outcome.holds
    changed = {trial.workload: (trial.before.schedule, trial.after.schedule) for trial in outcome.changed}
    assert changed == {A: (schedule("lucky"), DEFAULT), B: (schedule("lucky"), schedule("good"))}


def test_defaults_stay_where_what_is_faster_singly_is_not_so_together(noise: Callable[[float], None]) -> None:
    class Trap(FormulaModel):
        def run(self, _: object) -> float:
            return super().run(_) + (5.0 if schedule("trap") in self.schedules() else 0.0)

    noise(0.0)
    own = {"default": 2.0, "lucky": 2.2, "trap": 1.0}
    plain = network(own)
    model: Any = Trap([layer.scheduled(schedule("lucky")) for layer in plain.layers], plain.own, plain.after)
    outcome = search_graph(model, {}, lambda w, _: [Candidate(schedule("trap"), 2)] if w == B else [])
    assert outcome.holds
    assert {trial.after.schedule for trial in outcome.trials} == {DEFAULT}
    assert outcome.model.schedules() == [DEFAULT] * 3


def test_an_interruption_is_asked_for_between_turns(noise: Callable[[float], None]) -> None:
    noise(0.01)
    asked = []

    def interrupt() -> None:
        asked.append(None)
        if len(asked) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_graph(network({"default": 10, "best": 6}), {}, offering("best"), raise_if_interrupted=interrupt)


def test_only_sites_that_share_no_call_are_tried_together() -> None:
    calls = [Call(0, 5.0), Call(1, 4.0), Call(-1, 1.0), Call(2, 3.0), Call(-1, 1.0), Call(3, 2.0)]
    layers = [Layer(str(n), "dense", (1,), {}, workload=Workload.dense(1, 1, n + 1), threads=1) for n in range(4)]
    sites = graph_search._sites(FormulaModel(layers, lambda *_: 1.0, lambda *_: 1.0), calls)  # pyright: ignore
    assert [sorted(site.calls) for site in sites] == [[0, 1], [1, 2], [3, 4], [5]]
    groups = graph_search._apart(sites)
    assert [[site.places for site in group] for group in groups] == [[(0,), (2,), (3,)], [(1,)]]


def test_new_choices_go_before_earlier_ones(noise: Callable[[float], None]) -> None:
    noise(0.01)
    outcome = search_graph(network({"default": 10, "best": 6}), {}, offering("best"))
    other = Workload.dense(1, 2, 3)
    kept = Choice(other, schedule("kept"), 1)
    found = merged({other: kept, A: Choice(A, schedule("old"), 1)}, outcome.changed)
    assert {choice.workload: choice for choice in found} == {
        other: kept,
        A: Choice(A, schedule("best"), 2),
        B: Choice(B, schedule("best"), 2),
    }


def test_a_difference_names_the_decisions() -> None:
    before, after = Schedule("kernel", {"mr": 4, "nr": 16}), Schedule("kernel", {"mr": 6, "nr": 16})
    assert difference(Choice(A, before, 1), Choice(A, after, 1)) == "mr=4->6"
    assert difference(Choice(A, before, 1), Choice(A, before, 2)) == "the same"


def reference_answer(x: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(tiny_model().SerializeToString()).run(None, {"x": x})[0]


@pytest.mark.tvm
def test_a_model_is_built_by_its_own_choices_first(tmp_path: Path) -> None:
    """Then by the fastest record; and both give ONNX Runtime's answer."""
    import compiler
    from autotune import backends as spaces
    from compiler.workloads.records import Measurement, Record

    path, target = tmp_path / "r.sqlite", Target.from_host(num_cores=1)
    space = spaces.space("kernel", CONVOLUTION, target, fast_algorithms=False)
    if not space.decisions:
        pytest.skip("this CPU's kernels have no schedules to choose from")
    alone, other = [neighbour for *_, neighbour in space.neighbours(space.default())][:2]
    with Records(path) as records:
        for workload in WORKLOADS:
            best = alone if workload == CONVOLUTION else spaces.space("kernel", workload, target).default()
            records.add(Record(workload, target, best, Measurement((1e-9,))))
        records.choose(model_key(WORKLOADS), target, [Choice(CONVOLUTION, other, 1)])
        records.choose(model_key(WORKLOADS[1:]), target, [Choice(CLASSIFIER, other, 1)])  # of another model
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    for wanted in (other, alone):
        model = compiler.build(tiny_model(), threads=1, schedules=path)
        of_workload = {layer.workload: layer.schedule for layer in model.layers if layer.workload}
        assert of_workload[CONVOLUTION] == wanted
        assert of_workload[CLASSIFIER] == spaces.space("kernel", CLASSIFIER, target).default()
        # Sums of 144, 144 and 16 products: 304 roundings of numbers near 1 are far below this.
        np.testing.assert_allclose(model.run({"x": x})["y"], reference_answer(x), rtol=1e-4, atol=1e-5)
        with Records(path) as records:
            records.choose(model_key(WORKLOADS), target, [])


@pytest.mark.tvm
def test_a_choice_decides_on_threads_and_keeps_to_winograd(tmp_path: Path) -> None:
    import compiler

    if usable_cores() < 2:
        pytest.skip("one core")
    path, target = tmp_path / "r.sqlite", Target.from_host(num_cores=2)
    chosen_schedule = Schedule("kernel", {"algorithm": "winograd4"})
    default = compiler.build(tiny_model(), threads=2)
    (classifier,) = [place for place, layer in enumerate(default.layers) if layer.workload == CLASSIFIER]
    assert default.layers[classifier].threads == 1
    spelled_out = default.with_layers({classifier: dataclasses.replace(default.layers[classifier], threads=2)})
    explicit = spelled_out.schedules()[classifier]
    assert explicit
    with Records(path) as records:
        records.choose(
            model_key(WORKLOADS), target, [Choice(CLASSIFIER, explicit, 2), Choice(CONVOLUTION, chosen_schedule, 1)]
        )
    model = compiler.build(tiny_model(), threads=2, schedules=path, fast_algorithms=False)
    assert (model.layers[classifier].threads, model.layers[classifier].schedule) == (2, explicit)
    assert all(layer.schedule is None for layer in model.layers if layer.workload == CONVOLUTION)
    x = np.random.default_rng(1).standard_normal((1, 16, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(model.run({"x": x})["y"], reference_answer(x), rtol=1e-4, atol=1e-5)


@pytest.mark.tvm
def test_the_command_searches_then_weighs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(save_tiny_model(tmp_path))
    common = ["--model", model, "--threads", "1", "--records", "r.sqlite"]
    assert search.main([*common, "--strategy", "random", "--trials", "8"]) == 0
    assert "All of them: " in capsys.readouterr().out
    assert search.main([*common, "--graph", "--json", "out.json"]) == 0
    out = capsys.readouterr().out
    content = json.loads((tmp_path / "out.json").read_text())
    changed = [trial for trial in content["trials"] if trial["gain"]]
    assert {Workload.from_json(trial["workload"]) for trial in content["trials"]} == set(WORKLOADS)
    assert sum(trial["layers"] for trial in content["trials"]) == len(WORKLOADS)
    assert (content["comparison"] is None) == (not changed)
    with Records("r.sqlite") as records:
        kept = records.chosen(model_key(WORKLOADS), Target.from_host(num_cores=1))
    assert len(kept) == (len(changed) if content["holds"] else 0)
    assert ("The whole network: " in out) == bool(changed)


def test_without_records_there_is_nothing_to_weigh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(save_tiny_model(tmp_path))
    for prepare, reason in [(False, "there is no records file r.sqlite"), (True, "r.sqlite has nothing on")]:
        if prepare:
            Records("r.sqlite").close()
        with pytest.raises(SystemExit) as stop:
            search.main(["--model", model, "--threads", "1", "--records", "r.sqlite", "--graph"])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line
