"""The order of nodes in which the nodes of one kind form the fewest groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet


def grouped(dependencies: Sequence[AbstractSet[int]], apart: Iterable[int]) -> list[list[int]]:
    """Orders the nodes of a graph so that nodes of ``apart`` run one after another where possible.

    Each group takes all nodes of its kind that can run, so the next one of its kind is as late as possible. That gives
    the smallest number of groups.

    Args:
        dependencies: for each node, the nodes that must run before it; all of them come earlier.
        apart: indices of the nodes of the other kind.

    Returns:
        Lists of indices. The lists alternate between nodes that are not in ``apart`` and nodes that are; the first one
        is of nodes that are not, and may be empty.
    """
    separate = set(apart)
    groups: list[list[int]] = []
    done: set[int] = set()
    left = list(range(len(dependencies)))
    while left:
        in_turn = len(groups) % 2 == 1
        group, later = [], []
        for node in left:
            if (node in separate) == in_turn and dependencies[node] <= done:
                group.append(node)
                done.add(node)
            else:
                later.append(node)
        groups.append(group)
        left = later
    return groups
