"""The commands of ``python -m compiler``: one module and one line in ``COMMANDS`` each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Protocol

from compiler.commands import bench, build, profile, run


class Command(Protocol):
    """The module of a command; it imports what is heavy only in ``run``."""

    @property
    def ABOUT(self) -> str:
        """What it does, in one line."""
        ...

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it and returns the exit code.

        Raises:
            ValueError, OSError: a wrong argument or input.
            ImportError, RuntimeError: a failure of its own.
        """
        ...


COMMANDS: Mapping[str, Command] = {"build": build, "run": run, "bench": bench, "profile": profile}
