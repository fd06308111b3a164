from __future__ import annotations

import io

import pytest
from rich.console import Console

from autotune.commands.progress import LiveProgress, PlainProgress, Progress, SearchProgress, progress
from compiler.workloads.records import Measurement
from tests.autotune.commands.search_results import CLASSIFIER, SQUARE, roofline

FAST, SLOW, FAILED = Measurement((1.25e-3,)), Measurement((2.5e-3,)), Measurement((), "build failed: no reason")


def plan() -> list[SearchProgress]:
    return [SearchProgress(SQUARE, "kernel", 5), SearchProgress(CLASSIFIER, "tvm", 2)]


def run_both(shown: Progress) -> None:
    with shown:
        shown.start(roofline(SQUARE))
        for measurement in (FAILED, SLOW, FAST, SLOW, FAILED):
            shown.trial(measurement)
        shown.finish(1.25e-3)
        shown.start(roofline(CLASSIFIER))
        shown.trial(FAILED)
        shown.trial(FAILED)
        shown.finish(0.32048e-3)


def test_plain_lines_come_at_the_start_at_powers_of_two_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    run_both(PlainProgress(plan()))
    lines = [line.rpartition(", ")[0] for line in capsys.readouterr().out.splitlines() if "trial " in line]
    assert lines == [
        "500x500x500 kernel: nothing measured yet, trial 1/5, 1 failed",
        "500x500x500 kernel: best 100.0 GFLOP/s, 50.0% of the roofline, trial 2/5, 1 failed",
        "500x500x500 kernel: best 200.0 GFLOP/s, 100.0% of the roofline, trial 4/5, 1 failed",
        "500x500x500 kernel: done, best 200.0 GFLOP/s, 100.0% of the roofline, trial 5/5, 2 failed",
        "1x1000x2000 tvm: nothing measured yet, trial 1/2, 1 failed",
        "1x1000x2000 tvm: done, best 12.5 GFLOP/s, 50.0% of the roofline, trial 2/2, 2 failed",
    ]


def test_a_search_starts_with_its_limit(capsys: pytest.CaptureFixture[str]) -> None:
    run_both(PlainProgress(plan()))
    assert capsys.readouterr().out.splitlines()[0] == "500x500x500 kernel: roofline 200.0 GFLOP/s, 5 trials"


def test_the_live_table_has_one_line_per_search() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    shown = LiveProgress(plan(), console)
    with shown:
        shown.start(roofline(SQUARE))
        shown.trial(SLOW)
        shown.trial(FAILED)
    console.print(shown.table())
    assert isinstance(console.file, io.StringIO)
    square, classifier = console.file.getvalue().splitlines()[-3:-1]
    assert square.split()[:5] == ["500x500x500", "kernel", "100.0", "200.0", "50.0%"]
    assert "2/5" in square
    assert classifier.split()[:2] == ["1x1000x2000", "tvm"]


def test_output_to_a_pipe_is_plain() -> None:
    assert isinstance(progress(plan()), PlainProgress)
