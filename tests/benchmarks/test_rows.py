"""The rows that are printed during a benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import rows as rows_module
from benchmarks.layers.groups import GROUPS
from benchmarks.layers.sample import sample
from benchmarks.layers.shapes import Shape
from benchmarks.plan import LayerRun, ModelRun, Plan, Run
from benchmarks.rows import Rows
from tests.benchmarks.layers.test_comparison import result
from tests.benchmarks.whole_models.test_comparison import result as model_result

CONV = sample("conv3x3")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns do not depend on what is installed here."""
    monkeypatch.setattr(rows_module, "installed_peers", lambda group: list(group.peers))
    monkeypatch.setattr(rows_module, "installed_runtimes", lambda: ["onnxruntime", "openvino"])


def measured(shape: Shape, group: str, **more: Any) -> dict[str, Any]:
    """A result of a layer; the baseline takes twice as long."""
    found = result({"default": [0.001] * 3, "oneDNN": [0.002] * 3}, threads=more.pop("threads", 1), group=group)
    return found | {"shape": shape.name, "workload": shape.workload.to_json(), **more}


def plan(*runs: Run, records: Path | None = None) -> Plan:
    return Plan(runs, 5.0, records)


def test_a_heading_comes_before_the_first_row_of_a_group() -> None:
    chosen = plan(*(LayerRun(GROUPS["conv3x3"], shape, 1) for shape in CONV))
    rows = Rows(chosen)
    results = [measured(CONV[0], "conv3x3")]
    blank, title, note, headings, row = rows.layer(results, 600.0)
    assert blank == ""
    assert title.startswith("conv3x3: Convolutions 3x3, float32, ")
    assert title.endswith("; 1 thread, process pinned to core 0; about 10 minutes left")
    assert note == GROUPS["conv3x3"].note
    assert headings.split() == (
        ["shape", "sizes", "times", "default", "oneDNN", "roofline", "share", "best", "ours/oneDNN", "[95", "%]"]
    )
    assert row.startswith(CONV[0].name)
    assert "2.000 [2.000, 2.000]" in row
    results.append(measured(CONV[1], "conv3x3"))
    (second,) = rows.layer(results, 200.0)
    assert second.startswith(CONV[1].name)
    assert len(headings) == len(row) == len(second)  # aligned


def test_each_number_of_threads_and_each_group_has_a_heading() -> None:
    first = sample("first")[0]
    chosen = plan(
        LayerRun(GROUPS["conv3x3"], CONV[0], 1),
        LayerRun(GROUPS["first"], first, 1),
        LayerRun(GROUPS["first"], first, 2),
    )
    rows = Rows(chosen)
    results: list[dict[str, Any]] = []
    counts = []
    for one in (measured(CONV[0], "conv3x3"), measured(first, "first"), measured(first, "first", threads=2)):
        results.append(one)
        counts.append(len(list(rows.layer(results, 600.0))))
    assert counts == [5, 4, 4]  # the first group has a note


def test_a_row_is_that_of_the_report() -> None:
    """Only the spaces between the cells differ."""
    from benchmarks.layers import report

    rows = Rows(plan(LayerRun(GROUPS["conv3x3"], CONV[0], 1)))
    results = [measured(CONV[0], "conv3x3")]
    *_, row = rows.layer(results, 0.0)
    assert row.split() in [line.split() for line in report.lines(results)]


def test_the_peak_is_the_highest_so_far() -> None:
    rows = Rows(plan(*(LayerRun(GROUPS["conv3x3"], shape, 1) for shape in CONV)))
    results = [measured(CONV[0], "conv3x3", peak_gflops=1000.0, traffic=[{"bytes": 1, "gbs": 100.0}])]
    list(rows.layer(results, 0.0))
    results.append(measured(CONV[1], "conv3x3", peak_gflops=1.0, traffic=[{"bytes": 1, "gbs": 100.0}]))
    (row,) = rows.layer(results, 0.0)
    assert " 1000.0 " in row


def test_missing_implementations_are_empty_cells() -> None:
    rows = Rows(plan(LayerRun(GROUPS["conv3x3"], CONV[0], 1), records=Path("records.sqlite")))
    one = measured(CONV[0], "conv3x3")
    del one["implementations"]["oneDNN"]
    *_, headings, row = rows.layer([one], 0.0)
    assert headings.split()[3:6] == ["default", "tuned", "oneDNN"]
    assert "[" not in row


def test_a_busy_machine_is_shown_in_the_row() -> None:
    rows = Rows(plan(LayerRun(GROUPS["conv3x3"], CONV[0], 1)))
    *_, row = rows.layer([measured(CONV[0], "conv3x3", cores_busy_with_others=0.7)], 0.0)
    assert row.endswith("  NOT QUIET (0.7 cores)")


def test_models() -> None:
    rows = Rows(plan(ModelRun("a model", 1), ModelRun("a model", 2)))
    results = [model_result({"default": 0.001, "onnxruntime": 0.002})]
    blank, title, headings, row = rows.model(results, 60.0)
    assert blank == ""
    assert title.startswith("Whole models, batch 1; 1 thread, process pinned to core 0; about 60 seconds left")
    assert headings.split()[:5] == ["model", "default", "ms", "onnxruntime", "ms"]
    assert "1.000" in row
    assert "2.000 [2.000, 2.000]" in row
    results.append(results[0])
    assert len(list(rows.model(results, 0.0))) == 1
