"""Stored records as a search sees them: schedules that its space still has, and the winner among them."""

from __future__ import annotations

from collections.abc import Iterable

from compiler.workloads.database import Records
from compiler.workloads.records import Record, fastest
from compiler.workloads.schedule import Schedule, ScheduleSpace


def best_of(records: Iterable[Record], winner: Schedule | None) -> Record | None:
    """Returns the winner with all of its samples. Without a winner, the :func:`fastest` record, or None."""
    return fastest(record for record in records if winner is None or record.schedule == winner)


def winner_in(space: ScheduleSpace, records: Records | None) -> Schedule | None:
    """Returns the stored winner of the space's workload, or None if the space lacks it or no search has ended."""
    stored = records.winner(space.workload, space.target, space.backend) if records else None
    return stored if stored is not None and offers(space, stored) else None


def offers(space: ScheduleSpace, schedule: Schedule) -> bool:
    """Returns whether the space has a schedule. A stored one of an earlier version may have other choices."""
    try:
        space.choices(schedule)
    except ValueError:
        return False
    return space.is_legal(schedule)
