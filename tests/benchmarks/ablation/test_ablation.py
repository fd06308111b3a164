"""The table of an ablation from samples with known medians, and both runtimes end to end on a small model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import models
from benchmarks.ablation import command as ablation
from benchmarks.ablation import onnxruntime as ablation_onnxruntime
from benchmarks.ablation import report as ablation_report
from benchmarks.ablation.own import GRAPH_VIEW, PASSES, TUNED
from compiler.workloads.target import usable_cores
from tests.benchmarks.whole_models.test_command import MODEL, needs_peer, record


def result(model: str = "a-net", threads: int = 1, **facts: Any) -> dict[str, Any]:
    secs = {"base": 0.012, "+ one": 0.006, "+ another": 0.004}
    return {
        "runtime": "loopwright",
        "with": "Loopwright 7",
        "model": model,
        "threads": threads,
        "cpu": "a CPU",
        "isa": "avx2",
        "cores_busy_with_others": 0.0,
        "left_out": [],
        "how_to_tune": "commands that tune",
        "rows": {row: {**facts, "secs": [[of_one] * 2] * 4} for row, of_one in secs.items()},
    }


def test_a_row_is_compared_with_the_one_before_and_with_the_first() -> None:
    base, one, another = ablation_report.speeds(result())
    assert base.over_before is base.over_first is None
    assert one.over_before is not None
    assert one.over_before.value == pytest.approx(2)
    assert another.over_before is not None
    assert another.over_before.value == pytest.approx(1.5)
    assert another.over_first is not None
    assert another.over_first.value == pytest.approx(3)


def test_the_table_has_one_line_per_row_and_their_facts() -> None:
    lines = list(ablation_report.lines([result(kernel_calls=57), result("b-net", threads=2, kernel_calls=9)]))
    assert lines[0] == "a CPU, avx2, Loopwright 7, batch 1"
    assert len(lines) == 1 + 2 + 6
    assert lines[1].split()[:5] == ["model", "threads", "variant", "kernel", "calls"]
    assert lines[3].split() == ["a-net", "1", "base", "57", "12.00"]
    assert lines[5].split() == [
        "+",
        "another",
        "57",
        "4.000",
        "1.500",
        "[1.500,",
        "1.500]",
        "3.000",
        "[3.000,",
        "3.000]",
    ]
    assert "multiply-adds" not in lines[1]


def test_missing_rows_and_noise_are_reported() -> None:
    noisy = result() | {"left_out": [TUNED, GRAPH_VIEW], "cores_busy_with_others": 0.5}
    text = "\n".join(ablation_report.lines([noisy]))
    assert "1 thread: NOT QUIET, other processes kept more than 0.1 cores busy, during: a-net" in text
    assert (
        "left out of a-net, 1 thread, no records: + tuned and + graph view; to create them: commands that tune" in text
    )


def test_picture(tmp_path: Path) -> None:
    file = tmp_path / "ablation.png"
    ablation_report.draw([result(), result(threads=2), result("b-net")], file)
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.tvm
@needs_peer
@pytest.mark.parametrize(("chosen", "missing"), [(None, [TUNED, GRAPH_VIEW]), (True, [])])
def test_our_compiler(chosen: bool | None, missing: list[str], tmp_path: Path) -> None:
    if reason := models.missing(MODEL):
        pytest.skip(reason)
    records, out = tmp_path / "r.sqlite", tmp_path / "out.json"
    if chosen is not None:
        record(records, chosen)
    assert run(MODEL, "--records", str(records), "--json", str(out), "--png", str(tmp_path / "out.png")) == 0
    (measured,) = json.loads(out.read_text())
    assert measured["left_out"] == missing
    assert list(measured["rows"]) == [row for row in (*PASSES, TUNED, GRAPH_VIEW) if row not in missing]
    assert all(row["kernel_calls"] == 5 for row in measured["rows"].values())  # 2 convolutions, 2 poolings, 1 dense
    assert (tmp_path / "out.png").exists()


@needs_peer
@pytest.mark.parametrize(
    ("options", "rows"),
    [([], list(ablation_onnxruntime.ROWS)), (["--whole"], list(ablation_onnxruntime.WHOLE))],
)
def test_onnx_runtime(options: list[str], rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if reason := models.missing(MODEL):
        pytest.skip(reason)
    out = tmp_path / "out.json"
    assert run(MODEL, "--runtime", "onnxruntime", *options, "--json", str(out)) == 0
    (measured,) = json.loads(out.read_text())
    assert list(measured["rows"]) == rows
    first, last = (measured["rows"][rows[place]] for place in (0, -1))
    assert first["nodes"] == len(models.load(MODEL).graph.node) > last["nodes"]
    assert first["macs"] == last["macs"] == 28 * 28 * 8 * 25 + 14 * 14 * 16 * 200 + 2560
    assert "without its own optimizations" in capsys.readouterr().out


def run(*arguments: str) -> int:
    return ablation.main([*arguments, "--threads", "1", "--duration", "0.01"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no-such-model"], "no model 'no-such-model' here"),
        (
            ["--threads", "0"],
            f"argument --threads: must be numbers between 1 and {usable_cores()} such as 1,2; got '0'",
        ),
        (["--runtime", "other"], "invalid choice: 'other'"),
        (["--whole"], "argument --whole: only with --runtime onnxruntime"),
        (["--png", "no such folder/a.png"], "cannot write no such folder/a.png"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        ablation.main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
