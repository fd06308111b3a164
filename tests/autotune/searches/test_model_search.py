"""The search of a whole model, in earnest on a small one; needs no TVM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotune import backends as spaces
from autotune import search
from autotune.commands.model_progress import LiveModelProgress, PlainModelProgress, model_progress
from autotune.searches.model_search import ModelSearch, TaskState
from autotune.searches.model_tasks import Task
from compiler.workloads.records import Choice, Record, Records, fastest, model_key
from compiler.workloads.target import Target
from tests.autotune.tiny_model import CLASSIFIER, CONVOLUTION, WORKLOADS, save_tiny_model

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def target() -> Target:
    return Target.from_host(num_cores=1).measured()


@pytest.fixture
def tasks(target: Target) -> list[Task]:
    return [Task(CONVOLUTION, target, ("c0", "c1")), Task(CLASSIFIER, target, ("y",))]


def test_every_trial_is_kept_and_goes_to_some_task(tasks: list[Task], target: Target, tmp_path: Path) -> None:
    told: list[Record] = []
    turns: list[TaskState] = []
    with (
        Records(tmp_path / "r.sqlite") as records,
        ModelSearch(tasks, records, "random", on_trial=told.append) as searches,
    ):
        searches.measure_defaults()
        defaults = records.query()
        assert told == defaults
        assert [(r.workload, r.schedule) for r in defaults] == [
            (task.workload, spaces.space("kernel", task.workload, target).default()) for task in tasks
        ]
        assert [s.default_secs for s in searches.states] == [r.measurement.median_secs for r in defaults]
        searches.search(12, turns.append)
        convolutions, classifier = searches.states
        assert sum(state.trials for state in searches.states) == len(told) - 2 == 12
        assert turns[0] is max(searches.states, key=lambda state: state.default_total)
        assert convolutions.default_total == 2 * convolutions.default_secs
        assert classifier.default_total == classifier.default_secs
        for state in searches.states:
            known = records.query(state.task.workload)
            best = fastest(known)
            assert best
            assert state.best == best == records.best(state.task.workload, target)
            assert state.best_secs == best.measurement.median_secs <= state.default_secs
            assert len({r.schedule for r in known}) == 1 + state.trials
            if state.trials:
                assert len([r for r in known if r.schedule == state.default]) > 1, "the default is measured again, too"


def test_a_second_search_measures_nothing_twice(tasks: list[Task], tmp_path: Path) -> None:
    schedules = []
    for seed in (0, 1):
        with Records(tmp_path / "r.sqlite") as records:
            told: list[Record] = []
            with ModelSearch(tasks[:1], records, "random", seed, on_trial=told.append) as searches:
                searches.measure_defaults()
                searches.search(6)
            schedules += [record.schedule for record in told]
    assert len(schedules) == 1 + 6 + 6
    assert len(set(schedules)) == len(schedules)


def test_without_winograds_algorithm_none_of_it_counts(tasks: list[Task], tmp_path: Path) -> None:
    with Records(tmp_path / "r.sqlite") as records:
        for fast_algorithms in (True, False):
            with ModelSearch(tasks[:1], records, "random", fast_algorithms=fast_algorithms) as searches:
                searches.measure_defaults()
                searches.search(4)
            (state,) = searches.states
    assert state.best.schedule.values.get("algorithm", "direct") == "direct"


def command(folder: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autotune.search", *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_hands_over_all_that_it_found(tmp_path: Path) -> None:
    save_tiny_model(tmp_path, height="h")
    asked = "--model tiny.onnx --input-shape x=1x16x8x8 --threads 1 --strategy random --trials 8 --json out.json"
    process = command(tmp_path, *asked.split())
    out, err = process.communicate(timeout=180)
    assert (process.returncode, err) == (0, "")
    content = json.loads((tmp_path / "out.json").read_text())
    assert Target.from_json(content["target"]) == Target.from_host(num_cores=1)
    layers = [layer for result in content["results"] for layer in result["layers"]]
    assert len(layers) == len(set(layers)) == len(WORKLOADS)
    assert sum(result["trials"] for result in content["results"]) == 8
    for key, each in [("default_secs", "default_secs"), ("best_secs", "median_secs")]:
        total = sum(len(result["layers"]) * result[each] for result in content["results"])
        assert content[key] == pytest.approx(total)
    assert "conv2d 1x8x8x16x16x3x3,padding=1 bias relu       2        1" in out
    assert "dense 1x5x16 bias" in out
    assert "Expected of all of them: " in out
    assert "\x1b" not in out
    assert (tmp_path / "reports" / "index.html").stat().st_size > 10_000
    weights = out.partition(" share\n")[2].partition("All of them")[0].splitlines()[1:]
    shares = [float(line.split()[-1].removesuffix("%")) for line in weights]
    assert len(shares) == 2
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_ctrl_c_keeps_what_was_measured(tmp_path: Path) -> None:
    save_tiny_model(tmp_path)
    process = command(tmp_path, "--model", "tiny.onnx", "--threads", "1", "--strategy", "random", "--trials", "100000")
    assert process.stdout is not None
    for line in process.stdout:
        if "[16/" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "Interrupted; every finished measurement is kept in records.sqlite"
    with Records(tmp_path / "records.sqlite") as records:
        assert len(records.query()) >= 18


def test_choices_of_an_earlier_time_are_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_tiny_model(tmp_path)
    target = Target.from_host(num_cores=1)
    choice = Choice(CONVOLUTION, spaces.space("kernel", CONVOLUTION, target).default(), 1)
    with Records("records.sqlite") as records:
        records.choose(model_key(WORKLOADS), target, [choice])
    asked = ["--model", "tiny.onnx", "--threads", "1", "--strategy", "random", "--trials", "4"]
    assert search.main(asked) == 0
    assert (
        "An earlier --graph has chosen the schedules of 1 workloads, which go before these" in capsys.readouterr().out
    )


def test_a_default_that_fails_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autotune.searches import model_search
    from compiler.workloads.records import Measurement

    class Failing:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __enter__(self) -> Failing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def measure(self, schedules: list[object]) -> list[Measurement]:
            return [Measurement((), "wrong answer") for _ in schedules]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_search, "Measurer", Failing)
    save_tiny_model(tmp_path)
    assert search.main(["--model", "tiny.onnx", "--threads", "1"]) == 1
    assert capsys.readouterr().err == (
        f"python -m autotune.search: the default schedule of {CONVOLUTION} failed: wrong answer\n"
    )


def test_progress_counts_and_says_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    shown = model_progress(3)
    assert isinstance(shown, PlainModelProgress), "output to a pipe is plain"
    with shown:
        shown.step()
        shown.step()
        shown.say("a task")
    assert capsys.readouterr().out == "[2/3] a task\n"


def test_the_bar_counts_too() -> None:
    with LiveModelProgress(3) as shown:
        shown.step()
        shown.say("a task")
        assert isinstance(shown, LiveModelProgress)
        (task,) = shown._bar.tasks
        assert (task.completed, task.total, task.description) == (1, 3, "a task")
