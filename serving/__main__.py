"""The command line ``python -m serving``: serves compiled models and ONNX models over HTTP.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands.command_line import Parser, exit_code, of_commands
from serving.commands import COMMANDS

PROG = "python -m serving"


def parser() -> Parser:
    return of_commands(PROG, "Serves compiled models and ONNX models over HTTP.", COMMANDS)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error about an invalid argument or input; 0 after ``--help``.
    """
    arguments = parser().parse_args(argv)
    return exit_code(arguments.parser, lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
