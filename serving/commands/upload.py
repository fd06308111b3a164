"""``python -m serving upload``: adds a version to a running server."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from compiler.commands.command_line import at_least
from serving.admin import SOURCES
from serving.commands import options

ABOUT = "adds a version of a model to a running server"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the model's name")
    parser.add_argument("version", type=at_least(1), help="the number of the new version")
    about = f"{SOURCES}, which is converted to ONNX if it can be"
    parser.add_argument("source", type=Path, help=about)
    options.add_admin(parser)


def run(arguments: argparse.Namespace) -> int:
    admin = options.admin(arguments)
    with tempfile.TemporaryDirectory() as folder:
        source = _converted(arguments.source, Path(folder))
        reason = admin.upload(arguments.model, arguments.version, source)
    place = f"{arguments.model}, version {arguments.version}"
    print(f"Uploaded, not served: {place}: {reason}" if reason else f"Uploaded: {place}")
    return 0


def _converted(source: Path, folder: Path) -> Path:
    """Returns what is uploaded: of a classical model a folder with its ONNX form, or else with its file."""
    from serving import classical

    name = classical.served_name(source)
    if name is None or not source.is_file():
        return source
    try:
        (folder / "model.onnx").write_bytes(classical.to_onnx(source))
    except classical.NotConvertible as error:
        shutil.copyfile(source, folder / name)
        print(f"It runs in a process with Python: {error}")
    return folder
