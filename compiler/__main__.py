"""The command line ``python -m compiler``: builds, runs, compares and profiles models.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands import COMMANDS
from compiler.commands.command_line import run_commands


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: as :func:`compiler.commands.command_line.run_commands`.
    """
    return run_commands("python -m compiler", "Makes trained models run fast on this CPU.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
