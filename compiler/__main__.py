"""The command line ``python -m compiler``: builds a model, runs it, compares it with other runtimes, profiles it.

Exit codes: 0 done, 1 a failure of its own, 2 a wrong argument or input, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from compiler.commands import COMMANDS
from compiler.commands.command_line import Parser

PROG = "python -m compiler"
EXIT_CODES = "Exit codes: 0 done, 1 a failure of its own, 2 a wrong argument or input, 130 interrupted."


def parser() -> Parser:
    parser = Parser(prog=PROG, description="Makes a trained model run fast on this CPU.", epilog=EXIT_CODES)
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
        SystemExit: 2 after one line on standard error that says what is wrong; 0 after ``--help``.
    """
    arguments = parser().parse_args(argv)
    command: Parser = arguments.parser
    try:
        return arguments.run(arguments)
    except (ValueError, OSError) as error:
        command.error(_line(error))
    except (ImportError, MemoryError, RuntimeError) as error:
        print(f"{command.prog}: {_line(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
