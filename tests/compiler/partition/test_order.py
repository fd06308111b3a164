"""The order of nodes in groups."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.partition.order import grouped


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[set[int]], set[int]]:
    count = draw(st.integers(0, 7))
    dependencies = [draw(st.sets(st.integers(0, node - 1))) if node else set() for node in range(count)]
    return dependencies, draw(st.sets(st.integers(0, count - 1))) if count else set()


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_groups_are_a_valid_order_and_alternate(graph: tuple[list[set[int]], set[int]]) -> None:
    dependencies, apart = graph
    groups = grouped(dependencies, apart)
    order = [node for group in groups for node in group]
    assert sorted(order) == list(range(len(dependencies)))
    for node, before in enumerate(dependencies):
        assert all(order.index(other) < order.index(node) for other in before)
    for turn, group in enumerate(groups):
        assert group or turn == 0
        assert all((node in apart) == (turn % 2 == 1) for node in group)


@given(graphs())
@settings(max_examples=40, deadline=None)
def test_no_order_has_fewer_groups(graph: tuple[list[set[int]], set[int]]) -> None:
    dependencies, apart = graph
    found = len(grouped(dependencies, apart)[1::2])

    def groups_of(order: tuple[int, ...]) -> int:
        kinds = [node in apart for node in order]
        return sum(1 for index, kind in enumerate(kinds) if kind and (index == 0 or not kinds[index - 1]))

    orders = permutations(range(len(dependencies)))
    valid = (order for order in orders if all(dependencies[n] <= set(order[:i]) for i, n in enumerate(order)))
    assert found == min(map(groups_of, valid))
