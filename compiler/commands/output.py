"""The output of commands: tables, a line of progress, JSON."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

Cells = Sequence[str]
SHORTEST = 12  # characters of a text that is cut
GAP = 3  # characters that rich puts between two columns


def print_table(headings: Cells, rows: Sequence[Cells], left: Sequence[int]) -> None:
    """Prints a table, in plain text if standard output is not a terminal. ``left`` are the columns of text."""
    if not _is_terminal(sys.stdout):
        from graph_passes.report import columns

        print(columns([headings, *rows], left))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = fitted([headings, *rows], left, Console().width - GAP * len(headings))
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(cells[0]):
        table.add_column(Text(heading), justify="left" if place in left else "right", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*map(Text, row))  # Text: brackets in names are not markup
    # If it still does not fit, the terminal wraps the lines. Numbers are never cut: a part of one would mislead.
    whole = sum(max(map(len, column)) for column in zip(*cells, strict=True))
    Console(width=whole + GAP * len(headings)).print(table)


def fitted(lines: Sequence[Cells], left: Sequence[int], width: int) -> list[list[str]]:
    """Returns the cells with texts cut so that each line has at most ``width`` characters, if possible.

    The widest columns are cut first, to no less than ``SHORTEST`` characters.
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    while sum(widths) > width:
        widest = max(left, key=lambda place: widths[place])
        if widths[widest] <= SHORTEST:
            break
        widths[widest] -= 1
    return [
        [text if len(text) <= room else f"{text[: room - 1]}…" for text, room in zip(line, widths, strict=True)]
        for line in lines
    ]


@contextlib.contextmanager
def progress(text: str) -> Iterator[Callable[[float], None]]:
    """Shows a line on standard error during long work, if that is a terminal.

    Yields a function that shows which part is finished, from 0 to 1.
    """
    if not _is_terminal(sys.stderr):
        yield _ignore
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status(escape(text)) as status:
        yield lambda part: status.update(escape(f"{text} {part:.0%}"))


def write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Writes a file that has been checked before.

    Raises:
        RuntimeError: the file cannot be written any more, for example because the disk is full.
    """
    try:
        write_to(path)
    except OSError as error:
        raise RuntimeError(f"cannot write {path}: {error.strerror or error}") from None


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Writes a file and prints its path, unless the path is None.

    Raises:
        RuntimeError: as :func:`write`.
    """
    if path is not None:
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write(path, lambda file: file.write_text(text, encoding="utf-8"))
        print(f"Results: {path}")


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _ignore(_part: float) -> None:
    pass
