"""The commands of ``python -m serving``, by name."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.commands.command_line import Command
from serving.commands import bench, infer, promote, serve, upload, validate

COMMANDS: Mapping[str, Command] = {
    "serve": serve,
    "validate": validate,
    "upload": upload,
    "promote": promote,
    "infer": infer,
    "bench": bench,
}
