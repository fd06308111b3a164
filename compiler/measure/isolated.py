"""Measurements in separate processes.

A process must be pinned before any thread pool starts. An implementation that crashes must not take the results of the
others with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, arguments: Sequence[str], limit_secs: float) -> Any:
    """Runs ``python -m MODULE ARGUMENTS --json FILE`` and returns the content of the file.

    Raises:
        RuntimeError: the process failed, for the reason that it printed, or did not finish within ``limit_secs``.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", module, *arguments, "--json", str(out)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path}
        try:
            process = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=limit_secs, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{_name(command)} did not finish within {limit_secs:g} s") from None
        if process.returncode:
            reason = process.stderr.strip().removeprefix(f"python -m {module}: ").removeprefix("error: ")
            raise RuntimeError(reason or f"{_name(command)} {_ending(process.returncode)}")
        return json.loads(out.read_text())


def time_limit(duration: float) -> float:
    """Returns a limit in seconds for the measurement of a whole model, with ample time to compile it."""
    return 600 + 20 * duration


def _name(command: Sequence[str]) -> str:
    return " ".join(command[1:-2])


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
