"""``python -m serving validate``: loads the models of a repository without serving them."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from serving.program import server_command

ABOUT = "loads and runs the models of a folder once, and prints which cannot be served"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("repository", type=Path, help="the folder with a folder per model; see docs/serving.md")
    parser.add_argument(
        "--cache", type=Path, help="the folder for compiled ONNX models (default: .cache in the repository)"
    )


def run(arguments: argparse.Namespace) -> int:
    command = [*server_command(arguments.repository, arguments.cache), "--validate"]
    return subprocess.run([arguments.parser.prog, *command[1:]], executable=command[0], check=False).returncode
