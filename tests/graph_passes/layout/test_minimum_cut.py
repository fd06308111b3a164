"""The minimum cut compared with every subset of a few points."""

from __future__ import annotations

from collections.abc import Set
from itertools import chain, combinations

from hypothesis import given
from hypothesis import strategies as st

from graph_passes.layout.minimum_cut import source_side

Nets = list[tuple[Set[int], int]]


def cost_of(side: Set[int], nets: Nets) -> int:
    return sum(cost for members, cost in nets if members & side and members - side)


def joined(side: Set[int], nets: Nets, source: int) -> set[int]:
    """Returns the points of a side that its nets connect to the source."""
    found = {source}
    while new := {point for members, _ in nets if members & found for point in members & side} - found:
        found |= new
    return found


def by_trying_all(nets: Nets, source: int, sink: int) -> set[int]:
    """Returns the union of all cheapest sides, itself one of them, without points not connected to the source."""
    others = sorted({point for members, _ in nets for point in members} - {source, sink})
    subsets = chain.from_iterable(combinations(others, size) for size in range(len(others) + 1))
    sides = [{source, *subset} for subset in subsets]
    least = min(cost_of(side, nets) for side in sides)
    return joined(set().union(*(side for side in sides if cost_of(side, nets) == least)), nets, source)


POINTS = st.integers(0, 7)
NETS = st.lists(st.tuples(st.sets(POINTS, max_size=4), st.integers(0, 4)), max_size=12)


@given(NETS, st.lists(POINTS, min_size=2, max_size=2, unique=True))
def test_it_is_the_cheapest_of_all_subsets(nets: Nets, ends: list[int]) -> None:
    source, sink = ends
    side = source_side(nets, source, sink)
    assert side == by_trying_all(nets, source, sink)
    assert cost_of(side, nets) == cost_of(by_trying_all(nets, source, sink), nets)


def test_of_equal_cuts_the_one_nearest_to_the_sink_is_taken() -> None:
    assert source_side([({"s", "a"}, 1), ({"a", "b"}, 1), ({"b", "t"}, 1)], "s", "t") == {"s", "a", "b"}


def test_what_nothing_joins_to_the_source_stays() -> None:
    assert source_side([({"s", "t"}, 1), ({"a", "b"}, 1)], "s", "t") == {"s"}


def test_a_net_of_many_is_cut_once() -> None:
    """Counted one by one, the edges from a to its readers would cost more than the edge before it."""
    nets: list[tuple[set[str], int]] = [({"s", "a"}, 3), ({"a", "b", "c"}, 2), ({"b", "t"}, 9), ({"c", "t"}, 9)]
    assert source_side(nets, "s", "t") == {"s", "a"}
