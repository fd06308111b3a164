"""``python -m serving upload``: adds a version to a running server."""

from __future__ import annotations

import argparse
from pathlib import Path

from compiler.commands.command_line import at_least
from serving.commands import options

ABOUT = "adds a version of a model to a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    parser.add_argument("version", type=at_least(1), help="the number of the new version")
    parser.add_argument(
        "source", type=Path, help="an ONNX file, a saved model (.lw), or a folder that is laid out as a version"
    )
    options.add_admin(parser)


def run(arguments: argparse.Namespace) -> int:
    reason = options.admin(arguments).upload(arguments.model, arguments.version, arguments.source)
    print(f"Uploaded: {arguments.model}, version {arguments.version}{f'; not served: {reason}' if reason else ''}")
    return 0
