"""A minimum cut of points that are joined by nets of two or more members."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from math import inf
from typing import TypeVar

_Point = TypeVar("_Point", bound=Hashable)


def source_side(nets: Sequence[tuple[Set[_Point], int]], source: _Point, sink: _Point) -> set[_Point]:
    """Returns the cheapest set of points that contains the source but not the sink (Ford and Fulkerson, 1956).

    A net is a set of members and a cost. It is cut if one member is in the set and another is not. In the flow network
    a net is one edge between two points that all its members share (Lawler, 1973). Augmenting paths are shortest paths
    (Edmonds and Karp, 1972).

    Of several cheapest sets, the largest is returned, without the points that no net in it connects to the source.
    These cost the same on either side.
    """
    room: defaultdict[Hashable, defaultdict[Hashable, float]] = defaultdict(lambda: defaultdict(float))
    for members, cost in nets:
        if len(members) < 2:
            continue
        into, out_of = object(), object()
        for start, end, size in [
            (into, out_of, cost),
            *((member, into, inf) for member in members),
            *((out_of, member, inf) for member in members),
        ]:
            room[start][end] += size
            room[end][start] += 0
    while path := _path(room, source, sink):
        flow = min(room[start][end] for start, end in path)
        for start, end in path:
            room[start][end] -= flow
            room[end][start] += flow
    beyond = _reached(sink, lambda end: (start for start in room[end] if room[start][end]))
    within = _reached(source, lambda start: (end for end in room[start] if end not in beyond))
    return {source, *(member for members, _ in nets for member in members if member in within)}


def _path(
    room: Mapping[Hashable, Mapping[Hashable, float]], source: Hashable, sink: Hashable
) -> list[tuple[Hashable, Hashable]]:
    """Returns the edges of a shortest path with remaining capacity; empty if no such path exists."""
    before: dict[Hashable, Hashable] = {source: None}
    waiting: deque[Hashable] = deque(before)
    while waiting and sink not in before:
        start = waiting.popleft()
        for end, size in room[start].items():
            if size and end not in before:
                before[end] = start
                waiting.append(end)
    path = []
    end = sink
    while before.get(end) is not None:
        path.append((before[end], end))
        end = before[end]
    return path


def _reached(start: Hashable, following: Callable[[Hashable], Iterable[Hashable]]) -> set[Hashable]:
    found = {start}
    waiting = [start]
    while waiting:
        new = set(following(waiting.pop())) - found
        found |= new
        waiting += new
    return found
