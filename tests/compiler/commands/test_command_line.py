"""The parser, options and checks that the commands share."""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import pytest

from compiler.commands.command_line import (
    Parser,
    add_fast_algorithms,
    add_renamed,
    add_version,
    at_least,
    check_file,
    check_folder,
)


@pytest.fixture
def parser() -> Parser:
    return Parser(prog="program")


def complaint(parser: Parser, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Returns the only line on standard error of an invalid command line."""
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_an_error_is_one_line(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    assert complaint(parser, capsys, "--what") == "program: error: unrecognized arguments: --what"


def test_the_version_is_printed(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    add_version(parser)
    parser.add_argument("required")
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"loopwright {version('loopwright')}\n"


def test_a_renamed_option_gives_its_present_name(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    add_renamed(parser, "--former", "--present")
    parser.add_argument("required")
    line = "program: error: argument --former: renamed to --present"
    assert complaint(parser, capsys, "--former") == complaint(parser, capsys, "x", "--former") == line
    assert "--former" not in parser.format_help()


def test_fast_algorithms(parser: Parser, capsys: pytest.CaptureFixture[str]) -> None:
    add_fast_algorithms(parser)
    assert parser.parse_args([]).fast_algorithms
    assert not parser.parse_args(["--no-fast-algorithms"]).fast_algorithms
    line = "program: error: argument --no-winograd: renamed to --no-fast-algorithms"
    assert complaint(parser, capsys, "--no-winograd") == line


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("0012", 12), ("2", None), ("-5", None), ("1e3", None)])
def test_whole_numbers_have_a_lower_bound(text: str, number: int | None) -> None:
    if number is None:
        with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number of 3 or more"):
            at_least(3)(text)
    else:
        assert at_least(3)(text) == number


def test_a_file_is_checked_and_left_as_it_is(tmp_path: Path) -> None:
    existing, new = tmp_path / "existing", tmp_path / "new"
    existing.write_text("content")
    for path in (existing, new, None):
        check_file(path)
    assert existing.read_text() == "content"
    assert not new.exists()
    with pytest.raises(ValueError, match=r"cannot write .*: No such file or directory; choose another path"):
        check_file(tmp_path / "missing" / "file")


def test_a_folder_is_made_and_its_files_are_checked(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    check_folder(folder, "page.md", "page.png")
    assert list(folder.iterdir()) == []
    (folder / "page.png").mkdir()
    with pytest.raises(ValueError, match=r"cannot write .*page.png: Is a directory; choose another path"):
        check_folder(folder, "page.md", "page.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot create the folder .*c: Not a directory; choose another path"):
        check_folder(tmp_path / "file" / "c")
