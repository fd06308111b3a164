"""Schedules as the native operators take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernels import _native


def schedule_values(schedule: Mapping[str, Any] | Any | None) -> dict[str, Any] | None:
    """The values of a mapping, or of an object whose attribute ``values`` is one; None where there is no schedule."""
    if schedule is None:
        return None
    values = schedule if isinstance(schedule, Mapping) else getattr(schedule, "values", None)
    if not isinstance(values, Mapping):
        raise TypeError(f"schedule must be a mapping, or have one as the attribute values; got {schedule!r}")
    return dict(values)


def thread_splits(threads: int) -> list[tuple[int, int]]:
    """Returns the parts of (rows, columns) into which a layer on at most ``threads`` threads should divide its output.

    Raises:
        ValueError: ``threads`` is below 1 or above 1024.
    """
    return _native.thread_splits(threads)
