"""The command line ``python -m optimizer``: makes trained models smaller and faster.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands.command_line import run_commands
from optimizer.commands import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: as :func:`compiler.commands.command_line.run_commands`.
    """
    return run_commands("python -m optimizer", "Makes trained models smaller and faster.", COMMANDS, argv)


if __name__ == "__main__":
    sys.exit(main())
