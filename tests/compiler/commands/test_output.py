"""Tables on terminals and elsewhere, and files that cannot be written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from compiler.commands import output

HEADINGS = ("layer", "µs", "schedule")
ROWS = [("[bold]n0[/bold]", "1,234.5", "mr=6 nr=16 mc=128 kc=256"), ("n1", "2.0", "")]


def test_a_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(HEADINGS, ROWS, left=(0, 2))
    assert capsys.readouterr().out.splitlines() == [
        "layer                 µs  schedule",
        "---------------  -------  ------------------------",
        "[bold]n0[/bold]  1,234.5  mr=6 nr=16 mc=128 kc=256",
        "n1                   2.0",
    ]


@pytest.mark.parametrize("columns", [20, 45, 200])
def test_a_table_on_a_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    output.print_table(HEADINGS, ROWS, left=(0, 2))
    printed = capsys.readouterr().out
    assert "1,234.5" in printed
    assert ("[bold]n0[/bold]" in printed) == (columns == 200)
    assert ("mr=6 nr=16 mc=128 kc=256" in printed) == (columns == 200)


def test_texts_are_cut_and_numbers_are_not() -> None:
    lines = [("name", "µs"), ("n" * 30, "1" * 20), ("short", "2")]
    assert output.fitted(lines, (0,), 100) == [list(line) for line in lines]
    assert output.fitted(lines, (0,), 40)[1] == ["n" * 19 + "…", "1" * 20]
    assert output.fitted(lines, (0,), 5)[1] == ["n" * (output.SHORTEST - 1) + "…", "1" * 20]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"cannot write .*: Is a directory"):
        output.write_json(tmp_path, {})


def test_json_has_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        output.write_json(tmp_path / "r.json", {"seconds": float("nan")})


def test_progress_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("Building") as done:
        done(0.5)
    assert capsys.readouterr() == ("", "")
