"""Slices of requests to servers that take turns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.serving.client import Client, connect
from benchmarks.serving.messages import Row, input_of
from benchmarks.serving.servers import Running

_WARM_UP = 20  # requests of a slice that are not counted


def measure_row(row: Row, servers: Mapping[str, Running], slices: int, secs: float) -> dict[str, list[dict[str, Any]]]:
    """Checks one answer of each server, then lets them take turns. Returns the slices of each server.

    Args:
        secs: the length of a slice.

    Raises:
        ValueError: an answer is wrong.
        RuntimeError: an answer is an error.
    """
    clients = {name: connect(row, server.ports[row.protocol]) for name, server in servers.items()}
    try:
        for name, client in clients.items():
            if not np.array_equal(client.output(), input_of(row) + 1):
                raise ValueError(f"{name}: a wrong answer to {row.about}")
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        for turn in range(slices):
            for name in _order(list(servers), turn):
                found[name].append(_slice(clients[name], servers[name], secs))
        return found
    finally:
        for client in clients.values():
            client.close()


def _order(names: Sequence[str], turn: int) -> Sequence[str]:
    """Returns the names, every second time backwards, so that a drift of the machine cancels."""
    return names if turn % 2 == 0 else names[::-1]


def _slice(client: Client, server: Running, secs: float) -> dict[str, Any]:
    for _ in range(_WARM_UP):
        client.send()
    count, before, begin = 0, server.cpu_secs(), time.perf_counter()
    end = begin + secs
    while time.perf_counter() < end or count == 0:
        client.send()
        count += 1
    wall = time.perf_counter() - begin
    return {"requests": count, "wall_secs": wall, "cpu_secs": server.cpu_secs() - before}
