"""Records files as earlier versions of this program wrote them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from compiler.workloads.database import ADDED, APPLICATION_ID


@contextmanager
def file_of_version(path: Path, version: int) -> Iterator[sqlite3.Connection]:
    """Creates a file with the empty tables of a schema version. What the block adds is committed at its end."""
    with closing(sqlite3.connect(path)) as connection:
        for statements in ADDED[:version]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        yield connection
        connection.commit()
