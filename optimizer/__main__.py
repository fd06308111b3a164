"""The command line ``python -m optimizer``: makes trained models smaller and faster.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands.command_line import Parser, exit_code, of_commands
from optimizer.commands import COMMANDS

PROG = "python -m optimizer"


def parser() -> Parser:
    return of_commands(PROG, "Makes trained models smaller and faster.", COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error about an invalid argument or input; 0 after ``--help``.
    """
    arguments = parser().parse_args(argv)
    return exit_code(arguments.parser, lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
