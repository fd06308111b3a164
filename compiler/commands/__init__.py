"""The commands of ``python -m compiler``: one module each, and one line in ``COMMANDS``.

``command_line``, ``options`` and ``output`` have what commands of other packages use too: the parser, options with the
same meaning everywhere, tables and progress.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Protocol

from compiler.commands import bench, build, profile, run


class Command(Protocol):
    """The module of a command. It imports heavy packages only in ``run``."""

    @property
    def ABOUT(self) -> str:
        """What the command does, in one line."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Adds the command's arguments and options."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Runs the command and returns the exit code. Only this function reads the parsed arguments.

        Raises:
            ValueError, OSError: an invalid argument or input.
            ImportError, RuntimeError: another failure.
        """
        ...


COMMANDS: Mapping[str, Command] = {"build": build, "run": run, "bench": bench, "profile": profile}
