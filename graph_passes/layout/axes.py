"""Axes and dimensions of images in both layouts. An image has at least four dimensions; the last two are spatial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from graph_passes.lazy import ir

_T = TypeVar("_T")
Dim: TypeAlias = "int | ir.SymbolicDim"


def channels_last(rank: int) -> tuple[int, ...]:
    """Returns the permutation to channels last: (0, 2, 3, 1). All axes between batch and image count as channels."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2))


def channels_first(rank: int) -> tuple[int, ...]:
    """Returns the inverse permutation: (0, 3, 1, 2)."""
    return tuple(channels_last(rank).index(axis) for axis in range(rank))


def moved_axis(axis: int, rank: int) -> int:
    return channels_last(rank).index(axis % rank)


def dims_of(value: ir.Value | None) -> list[Dim]:
    """Returns the dimensions of a value; empty if their number is unknown."""
    return [] if value is None or value.shape is None else list(value.shape)


def rank_of(value: ir.Value | None) -> int:
    return len(dims_of(value))


def same_rank(node: ir.Node, images: Sequence[int]) -> int | None:
    """Returns the common rank of these inputs and all used outputs; None if ranks differ or are below 4."""
    ranks = {rank_of(node.inputs[place]) for place in images}
    ranks |= {rank_of(output) for output in node.outputs if output.uses() or output.is_graph_output()}
    return ranks.pop() if len(ranks) == 1 and min(ranks) >= 4 else None


def is_image(value: ir.Value | None) -> bool:
    return rank_of(value) >= 4


def reordered(dims: Sequence[_T], perm: Sequence[int]) -> list[_T]:
    return [dims[axis] for axis in perm]


def last_dims(dims: Sequence[_T]) -> list[_T]:
    return reordered(dims, channels_last(len(dims)))


def widened(dims: Sequence[_T], rank: int) -> list[_T | int]:
    """Returns the dimensions after broadcasting to ``rank`` dimensions."""
    return [*[1] * (rank - len(dims)), *dims]


def keeps_order(dims: Sequence[object]) -> bool:
    """Returns whether channels last does not change the order of elements, as for (N, C, 1, 1)."""
    order = [axis for axis in channels_last(len(dims)) if dims[axis] != 1]
    return order == sorted(order)


def same_dim(a: Dim, b: Dim) -> bool:
    return a == b and (isinstance(a, int) or a.value is not None)


def reshape_target(x: Sequence[Dim], y: Sequence[Dim]) -> list[int] | None:
    """Returns the shape operand of a Reshape from x to y; None if it cannot be expressed."""
    sizes = [
        dim if isinstance(dim, int) else 0 if place < len(x) and same_dim(x[place], dim) else -1
        for place, dim in enumerate(y)
    ]
    return None if sizes.count(-1) > 1 or 0 in (*x, *y) else sizes
