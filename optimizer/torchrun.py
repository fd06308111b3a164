"""The environment that torchrun gives its processes."""

from __future__ import annotations

import os


def processes() -> int:
    """Returns the number of processes that torchrun started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Returns whether this process writes results: the first one of those that torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"
