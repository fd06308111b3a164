"""``python -m serving promote``: chooses the version that a label of a running server selects."""

from __future__ import annotations

import argparse

from compiler.commands.command_line import at_least
from serving.commands import options

ABOUT = "makes a version of a running server the stable one, or goes back to the one before"


def percentage(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 100")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("version", nargs="?", type=at_least(1), help="the version")
    chosen.add_argument("--rollback", action="store_true", help="the version before the last promotion")
    parser.add_argument(
        "--label", default="stable", help="requests without a version get the label stable (default: %(default)s)"
    )
    parser.add_argument(
        "--percent",
        type=percentage,
        default=0,
        help="share of these requests that another label gets (default: %(default)s)",
    )
    options.add_admin(parser)


def run(arguments: argparse.Namespace) -> int:
    admin = options.admin(arguments)
    if arguments.rollback:
        version = admin.roll_back(arguments.model, arguments.label)
        print(f"Rolled back: {arguments.model}, label {arguments.label}, to version {version}")
    else:
        admin.promote(arguments.model, arguments.version, arguments.label, arguments.percent)
        share = f", {arguments.percent:g} % of the requests without a version" if arguments.percent else ""
        print(f"Promoted: {arguments.model}, version {arguments.version}, label {arguments.label}{share}")
    return 0
