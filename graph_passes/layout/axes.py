"""Axes and dimensions of images in either layout. Of four dimensions or more, the last two are those of the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

from graph_passes.lazy import ir

_T = TypeVar("_T")
Dim: TypeAlias = "int | ir.SymbolicDim"


def channels_last(rank: int) -> tuple[int, ...]:
    """Which axis stands where: (0, 2, 3, 1). With five dimensions, those between batch and image are all channels."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2))


def channels_first(rank: int) -> tuple[int, ...]:
    """The way back: (0, 3, 1, 2)."""
    return tuple(channels_last(rank).index(axis) for axis in range(rank))


def moved_axis(axis: int, rank: int) -> int:
    return channels_last(rank).index(axis % rank)


def dims_of(value: ir.Value | None) -> list[Dim]:
    """None also where even their number is unknown."""
    return [] if value is None or value.shape is None else list(value.shape)


def rank_of(value: ir.Value | None) -> int:
    return len(dims_of(value))


def same_rank(node: ir.Node, images: Sequence[int]) -> int | None:
    """How many dimensions these inputs and all outputs have; None where that is not the same number, or below 4."""
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
    """Dimensions as they are broadcast to more."""
    return [*[1] * (rank - len(dims)), *dims]


def keeps_order(dims: Sequence[object]) -> bool:
    """Whether the elements lie in memory in the same order with channels last, as those of (N, C, 1, 1) do."""
    order = [axis for axis in channels_last(len(dims)) if dims[axis] != 1]
    return order == sorted(order)


def same_dim(a: Dim, b: Dim) -> bool:
    return a == b and (isinstance(a, int) or a.value is not None)


def reshape_target(x: Sequence[Dim], y: Sequence[Dim]) -> list[int] | None:
    """What a Reshape from x to y is told; None where it cannot be said."""
    sizes = [
        dim if isinstance(dim, int) else 0 if place < len(x) and same_dim(x[place], dim) else -1
        for place, dim in enumerate(y)
    ]
    return None if sizes.count(-1) > 1 or 0 in (*x, *y) else sizes
