"""The parser, options and checks that the commands of ``compiler``, ``autotune`` and ``benchmarks`` share."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol

# The file that ``autotune.search`` writes by default.
DEFAULT_RECORDS = Path("records.sqlite")
EXIT_CODES = "Exit codes: 0 success, 1 failure, 2 invalid argument or input, 130 interrupted."


class Parser(argparse.ArgumentParser):
    """Reports an invalid command line in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


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


class _Version(argparse.Action):
    """Prints the version of the distribution and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from importlib.metadata import version

        print("loopwright", version("loopwright"))
        parser.exit()


class _Renamed(argparse.Action):
    """Rejects the former name of an option; ``const`` is its present name."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,  # noqa: ARG002
        option_string: str | None = None,
    ) -> NoReturn:
        parser.error(f"argument {option_string}: renamed to {self.const}")


def of_commands(prog: str, description: str, commands: Mapping[str, Command]) -> Parser:
    """Returns the parser of a command line with these commands, by name."""
    parser = Parser(prog=prog, description=description, epilog=EXIT_CODES)
    add_version(parser)
    added = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, command in commands.items():
        about = command.ABOUT
        chosen = added.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=EXIT_CODES)
        command.add_arguments(chosen)
        chosen.set_defaults(run=command.run, parser=chosen)
    return parser


def run_commands(prog: str, description: str, commands: Mapping[str, Command], argv: Sequence[str] | None) -> int:
    """Runs the command line of :func:`of_commands` and returns its exit code.

    Raises:
        SystemExit: 2 after one line on standard error about an invalid argument or input; 0 after ``--help``.
    """
    arguments = of_commands(prog, description, commands).parse_args(argv)
    return exit_code(arguments.parser, lambda: arguments.run(arguments))


def add_version(parser: argparse.ArgumentParser) -> None:
    """Adds ``--version``."""
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")


def add_renamed(parser: argparse._ActionsContainer, former: str, present: str) -> None:
    """Adds the former name of an option, which is rejected with one line that has the present name."""
    parser.add_argument(former, action=_Renamed, nargs=0, const=present, help=argparse.SUPPRESS)


def add_fast_algorithms(parser: argparse._ActionsContainer) -> None:
    """Adds ``--no-fast-algorithms``, which was ``--no-winograd``."""
    parser.add_argument(
        "--no-fast-algorithms",
        dest="fast_algorithms",
        action="store_false",
        help="do not use Winograd's and Strassen's algorithms, which round more than a sum does",
    )
    add_renamed(parser, "--no-winograd", "--no-fast-algorithms")


def add_machine(parser: argparse._ActionsContainer) -> None:
    """Adds ``--machine``."""
    parser.add_argument(
        "--machine",
        metavar="FILE",
        help="machine model that default schedules follow: a file of `python -m kernels.calibrate`, or interpolated "
        "for that of a CPU that nobody has measured (default: that of this CPU)",
    )


def at_least(least: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers with a lower bound."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return parse


def positive(unit: str) -> Callable[[str], float]:
    """Returns a parser of finite numbers above 0; ``unit`` is in its message."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {unit} above 0")
        return value

    return parse


seconds = positive("seconds")


def check_file(path: Path | None) -> None:
    """Checks that a file can be written, by opening it, because permission bits are not conclusive.

    An existing file stays as it is.

    Raises:
        ValueError: it cannot be written.
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


def check_folder(path: Path, *files: str) -> None:
    """Creates a folder if necessary, and checks that files can be written there.

    Raises:
        ValueError: it cannot be created, or a file cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot create the folder {path}: {error.strerror}; choose another path") from None
    for file in files:
        check_file(path / file)


def exit_code(parser: Parser, work: Callable[[], int]) -> int:
    """Runs a command and returns its exit code: that of ``work``, or 1 after one line about a failure.

    Raises:
        SystemExit: 2 after one line about an invalid argument or input, which is a ValueError or OSError of ``work``.
    """
    try:
        return work()
    except (ValueError, OSError) as error:
        parser.error(_line(error))
    except (ImportError, MemoryError, RuntimeError) as error:
        print(f"{parser.prog}: {_line(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
