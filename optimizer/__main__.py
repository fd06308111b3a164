"""The command line ``python -m optimizer``: makes trained models smaller and faster.

Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands.command_line import EXIT_CODES, Parser, add_version, exit_code
from optimizer.commands import COMMANDS

PROG = "python -m optimizer"


def parser() -> Parser:
    parser = Parser(prog=PROG, description="Makes trained models smaller and faster.", epilog=EXIT_CODES)
    add_version(parser)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        about = command.ABOUT
        chosen = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EXIT_CODES)
        command.add_arguments(chosen)
        chosen.set_defaults(run=command.run, parser=chosen)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error about an invalid argument or input; 0 after ``--help``.
    """
    arguments = parser().parse_args(argv)
    return exit_code(arguments.parser, lambda: arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
