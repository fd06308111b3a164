"""Starts ``python -m autotune.search`` in a separate process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start_search(folder: Path, *argv: str) -> subprocess.Popen[str]:
    """Starts the command in a folder, with pipes for its output and errors."""
    return subprocess.Popen(
        [sys.executable, "-m", "autotune.search", *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
