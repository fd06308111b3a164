"""``python -m autotune.search --model --graph``: its tables, and the command from end to end on a small model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autotune import search
from autotune.commands.graph_command import difference, merged, table, verdict
from autotune.searches.graph_search import Comparison, GraphOutcome, WorkloadOutcome
from compiler.measure.comparison import MedianInterval
from compiler.workloads.database import Records
from compiler.workloads.records import ModelChoice, model_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from tests.autotune.tiny_model import WORKLOADS, save_tiny_model

A, B = Workload.dense(8, 8, 8), Workload.dense(9, 9, 9)
BEFORE, AFTER = Schedule("kernel", {"mr": 4, "nr": 16}), Schedule("kernel", {"mr": 6, "nr": 16})
GAIN = MedianInterval(0.1, 0.05, 0.15)


def outcome(workload: Workload) -> WorkloadOutcome:
    return WorkloadOutcome(
        workload, (0, 2), 0.5, 3, ModelChoice(workload, BEFORE, 1), ModelChoice(workload, AFTER, 2), GAIN
    )


def test_new_choices_replace_earlier_ones() -> None:
    other = Workload.dense(1, 2, 3)
    kept = ModelChoice(other, BEFORE, 1)
    found = merged({other: kept, A: ModelChoice(A, BEFORE, 1)}, [outcome(A), outcome(B)])
    assert {choice.workload: choice for choice in found} == {
        other: kept,
        A: ModelChoice(A, AFTER, 2),
        B: ModelChoice(B, AFTER, 2),
    }


def test_a_difference_names_the_decisions() -> None:
    assert difference(ModelChoice(A, BEFORE, 1), ModelChoice(A, AFTER, 1)) == "mr=4->6"
    assert difference(ModelChoice(A, BEFORE, 1), ModelChoice(A, BEFORE, 2)) == "the same"


def test_the_table_has_one_line_per_change() -> None:
    *_, line = table([outcome(A)]).splitlines()
    assert line.split() == "dense 8x8x8 2 50.0% 10.0% 5.0% to 15.0% 1 -> 2 mr=4->6".split()


def test_the_verdict_is_that_of_the_entire_network() -> None:
    holds = GraphOutcome((outcome(A),), None, Comparison(2e-3, 1.8e-3, GAIN))
    assert verdict(holds) == ("The entire network: 2.00 ms -> 1.80 ms; it saves 10.0%, 95% interval 5.0% to 15.0%")
    chance = GraphOutcome((outcome(A),), None, Comparison(2e-3, 1.8e-3, MedianInterval(0.1, -0.05, 0.15)))
    assert verdict(chance).endswith("-5.0% to 15.0%: within chance, so the schedules stay as they are")
    assert verdict(GraphOutcome((), None, None)) == "No candidate is faster: the schedules stay as they are"


@pytest.mark.tvm
def test_the_command_searches_then_selects(
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
    assert ("The entire network: " in out) == bool(changed)


def test_without_records_there_is_nothing_to_select(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(save_tiny_model(tmp_path))
    for prepare, reason in [(False, "no such records file: r.sqlite"), (True, "r.sqlite has no records of")]:
        if prepare:
            Records("r.sqlite").close()
        with pytest.raises(SystemExit) as stop:
            search.main(["--model", model, "--threads", "1", "--records", "r.sqlite", "--graph"])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert reason in line
