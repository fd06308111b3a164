"""The progress of a model's search."""

from __future__ import annotations

import pytest

from autotune.commands.model_progress import LiveModelProgress, PlainModelProgress, model_progress


def test_plain_progress_counts_and_prints_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = model_progress(3)
    assert isinstance(shown, PlainModelProgress), "output to a pipe is plain"
    with shown:
        shown.step()
        shown.step()
        shown.say("a task")
    assert capsys.readouterr().out == "[2/3] a task\n"


def test_the_bar_counts() -> None:
    with LiveModelProgress(3) as shown:
        shown.step()
        shown.say("a task")
        assert isinstance(shown, LiveModelProgress)
        (task,) = shown._bar.tasks
        assert (task.completed, task.total, task.description) == (1, 3, "a task")
