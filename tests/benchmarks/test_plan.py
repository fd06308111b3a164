"""The plan of a benchmark: what it says, and that its estimate follows from what is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import plan as plan_module
from benchmarks.layers.groups import GROUPS
from benchmarks.layers.sample import SAMPLE, sample
from benchmarks.layers.shapes import Shape
from benchmarks.plan import LayerRun, ModelRun, Plan, about
from benchmarks.whole_models.implementations import PEERS
from benchmarks.whole_models.measure import SAMPLED_MODELS
from compiler.workloads.workload import Workload

DENSE, FIRST = GROUPS["dense"], GROUPS["first"]
SQUARE = Shape("square-512", Workload.dense(512, 512, 512))


@pytest.fixture(autouse=True)
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate does not depend on what is installed here."""
    monkeypatch.setattr(plan_module, "installed_peers", lambda group: list(group.peers))
    monkeypatch.setattr(plan_module, "installed_runtimes", lambda: list(PEERS))
    monkeypatch.setattr(plan_module, "supported", lambda _: True)
    monkeypatch.setattr(plan_module.models, "missing", lambda _: None)


def total(plan: Plan) -> float:
    return sum(map(plan.secs, plan.runs))


def default_plan(threads: tuple[int, ...] = (1, 2)) -> Plan:
    layers = [LayerRun(GROUPS[name], shape, n) for n in threads for name in GROUPS for shape in sample(name)]
    models = [ModelRun(name, n) for n in threads for name in SAMPLED_MODELS]
    return Plan((*layers, *models), 5.0)


def test_the_default_takes_less_than_15_minutes_on_two_cores() -> None:
    assert 5 * 60 < total(default_plan()) < 13 * 60  # the start of pytest and the report take seconds


def test_more_threads_implementations_trials_and_seconds_take_longer(tmp_path: Path) -> None:
    one = Plan((LayerRun(FIRST, sample("first")[0], 1),), 5.0)
    assert total(Plan(one.runs * 2, 5.0)) == pytest.approx(2 * total(one))
    assert total(Plan((LayerRun(DENSE, SQUARE, 1),), 5.0)) > total(one)  # three implementations instead of two
    tuned = replace(one, records=tmp_path / "records.sqlite")
    assert total(tuned) > total(one)
    (run,) = one.layers
    assert total(replace(tuned, runs=(replace(run, trials=10),))) > total(tuned)
    models = Plan((ModelRun("minilm", 1),), 5.0)
    assert total(replace(models, duration=6.0)) - total(models) == pytest.approx(1 + len(PEERS))


def test_what_is_skipped_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "supported", lambda group: group.dtype == "float32")
    monkeypatch.setattr(plan_module.models, "missing", lambda name: "run `make models`" if name == "minilm" else None)
    layer = LayerRun(GROUPS["dense-bf16"], sample("dense-bf16")[0], 1)
    plan = Plan((layer, ModelRun("minilm", 1)), 5.0)
    assert total(plan) == 0
    text = "\n".join(plan.lines())
    assert "skipped, dense-bf16: this CPU has no bfloat16" in text
    assert "skipped, minilm: run `make models`" in text


def test_the_lines_count_what_is_measured_and_name_the_options() -> None:
    first, *others = default_plan().lines()
    count = sum(map(len, SAMPLE.values()))
    start = f"measures {count} layers of {len(GROUPS)} groups and {len(SAMPLED_MODELS)} whole models on 1 and 2 threads"
    assert first == f"{start}, with default schedules: {about(total(default_plan()))}"
    text = "\n".join(others)
    for option in ("--bench-all measures all", "--bench-trials N searches", "--bench-records FILE measures"):
        assert option in text


def test_the_lines_follow_the_options(tmp_path: Path) -> None:
    runs = (LayerRun(DENSE, SQUARE, 1, trials=7),)
    first, *others = Plan(runs, 5.0, tmp_path / "records.sqlite", complete=True).lines()
    assert f"1 layer of 1 group on 1 thread, with default schedules and those of {tmp_path}" in first
    assert "after 7 trials" in first
    assert not any("--bench" in line for line in others)
    assert list(Plan((), 5.0).lines()) == []


def test_missing_baselines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module.PEERS["torch"], "missing", lambda: "torch is not installed")
    monkeypatch.setattr(plan_module.runtimes, "version", lambda package: "" if package == "openvino" else "1")
    text = "\n".join(default_plan().lines())
    assert "without torch: torch is not installed" in text
    assert "without openvino: pip install openvino" in text


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (0.2, "about 1 second"),
        (61.6, "about 62 seconds"),
        (90, "about 2 minutes"),
        (600, "about 10 minutes"),
        (9000, "about 2.5 hours"),
    ],
)
def test_durations(secs: float, text: str) -> None:
    assert about(secs) == text
