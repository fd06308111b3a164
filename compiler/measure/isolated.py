"""Measurements in processes of their own.

Cores must be chosen before any thread pool starts, and a contender that crashes must not take the others' figures with
it.
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

from compiler.measure import affinity

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, arguments: Sequence[str], limit_secs: float) -> Any:
    """What ``python -m MODULE ARGUMENTS --json FILE`` writes into its file.

    Raises:
        RuntimeError: it failed, for the reason that it printed, or was not done within ``limit_secs``.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", module, *arguments, "--json", str(out)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        environment = os.environ | {"PYTHONPATH": path}
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=limit_secs, check=False
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"{_name(command)} was not done within {limit_secs:.0f} s") from None
        if done.returncode:
            said = done.stderr.strip().removeprefix(f"python -m {module}: ").removeprefix("error: ")
            raise RuntimeError(said or f"{_name(command)} {_ending(done.returncode)}")
        return json.loads(out.read_text())


def time_limit(duration: float) -> float:
    """Seconds after which a measurement of a whole model has gone astray; compiling and slow runs take their time."""
    return 600 + 20 * duration


def pin(threads: int) -> list[int]:
    """Binds this process to as many cores, which are returned. To be called before anything starts a thread.

    Raises:
        ValueError: this process may not use so many.
    """
    usable = len(os.sched_getaffinity(0))
    if not 1 <= threads <= usable:
        raise ValueError(f"threads must be between 1 and {usable} (the cores this process may use), got {threads}")
    cores = affinity.cores(threads)
    os.sched_setaffinity(0, cores)
    return cores


def _name(command: Sequence[str]) -> str:
    return " ".join(command[1:-2])


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
