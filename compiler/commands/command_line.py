"""What the commands of ``compiler`` and ``autotune`` share."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

# What ``autotune.search`` writes where it is not told another place.
DEFAULT_RECORDS = Path("records.sqlite")


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line; the usage is one ``--help`` away."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


def at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return int(text)

    return parse


def check_file(path: Path | None) -> None:
    """Whether a file can be written, by trying, since no permission bit tells for sure; what is there stays as it is.

    Raises:
        ValueError: it cannot.
    """
    if path is None:
        return
    existed = os.path.lexists(path)
    try:
        path.open("a").close()
        if not existed:
            path.unlink()
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; choose another path") from None
