"""Sums of products that have no kernel: a register tile, chosen by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import s_tir

from compiler.tvm_backend.generic_access import Loop, Unsupported, divisors, extent, loops_around
from compiler.tvm_backend.tiling import max_accumulators
from compiler.workloads.target import Target

_WIDEST = 4  # vectors beside each other in a register tile
_HEIGHT = 4  # of a tile in a product whose rows are padded
_FEWEST_LANES = 4  # below which other schedules are as good
_LATENCY = 8  # products that have to be under way at a time
_LEAST = 0.7  # of the best register tile's speed, below which a product is padded


def is_contraction(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether a block reads each of two or more inputs several times: matrix products, convolutions."""
    try:
        loops = loops_around(schedule, block)
    except Unsupported:
        return False
    spatial = [loop for loop in loops if not loop.reduction and loop.extent > 1]
    inputs = len(loops[0].loads) if loops else 0
    reused = all(any(loop.loads[i] == 0 for loop in spatial) for i in range(inputs))
    return any(loop.reduction for loop in loops) and inputs > 1 and reused


def pad_contraction(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Pads a matrix product whose sizes no register tile divides.

    Raises:
        ScheduleError: it is no plain product.
        Unsupported: as :func:`arrange_contraction`.
    """
    loops = loops_around(schedule, block)
    lane, row = _tiled_loops(loops)
    rows = row.extent if row else 1
    best = _products_a_cycle(_tile(rows * _HEIGHT, lane.extent * target.lanes, target), target)
    if _products_a_cycle(_tile(rows, lane.extent, target), target) < _LEAST * best:
        multiples = {lane: target.lanes * (2 if lane.extent > _WIDEST * target.lanes else 1), row: min(rows, _HEIGHT)}
        schedule.pad_einsum(block, [multiples.get(loop, 1) for loop in loops])


def arrange_contraction(schedule: s_tir.Schedule, block: Any, target: Target, threads: int) -> None:
    """Accumulates a tile of rows × vectors in registers throughout the reduction.

    Raises:
        ScheduleError: TVM refuses a step.
        Unsupported: no loop's iterations fit the lanes of vectors.
    """
    loops = loops_around(schedule, block)
    lane, row = _tiled_loops(loops)
    height, width = _tile(row.extent if row else 1, lane.extent, target)
    if _lanes(width, target) < min(_FEWEST_LANES, target.lanes):
        raise Unsupported("no register tile divides the loops")
    reductions = [loop.rv for loop in loops if loop.reduction]
    others = [loop.rv for loop in loops if not loop.reduction and loop is not lane and loop is not row]
    lane_outer, lanes = schedule.split(lane.rv, [None, width])
    outer, tile = [*others, lane_outer], [lanes]
    if row is not None:
        row_outer, rows = schedule.split(row.rv, [None, height])
        outer, tile = [*others, row_outer, lane_outer], [rows, lanes]
    reorder: Any = schedule.reorder
    reorder(*outer, *reductions, *tile)
    # A buffer no larger than the tile, whose indices are constants once rows are unrolled: LLVM keeps it in registers.
    write = schedule.cache_write(block, 0, "local")
    schedule.reverse_compute_at(write, lane_outer, preserve_unit_loops=True)
    _vectorize(schedule, schedule.get_loops(write)[len(outer) :], _lanes(width, target))
    _vectorize(schedule, tile, _lanes(width, target))
    fused = len(outer)
    if threads > 1:  # while the block is still whole: TVM asks of a parallel loop to see the whole reduction
        fuse: Any = schedule.fuse
        schedule.parallel(fuse(*outer))
        fused = 1
    init = schedule.decompose_reduction(block, reductions[0])
    _vectorize(schedule, schedule.get_loops(init)[fused:], _lanes(width, target))


def _tiled_loops(loops: Sequence[Loop]) -> tuple[Loop, Loop | None]:
    """The loop for lanes of vectors, and the one for rows: where the vectors of an input are the same for each row.

    Raises:
        Unsupported: no loop's iterations fit the lanes of vectors.
    """
    spatial = [loop for loop in loops if not loop.reduction and loop.extent > 1]
    lane = max((loop for loop in spatial if loop.streams), key=_extent, default=None)
    if lane is None:
        raise Unsupported("no loop's iterations fit the lanes of vectors")
    vectors = [i for i, stride in enumerate(lane.loads) if stride == 1]
    rows = [loop for loop in spatial if loop is not lane and all(loop.loads[i] == 0 for i in vectors)]
    return lane, max(rows, key=_extent, default=None)


def _vectorize(schedule: s_tir.Schedule, tile: Sequence[Any], lanes: int) -> None:
    """The innermost loop that is one becomes vectors, the others straight code."""
    *rows, columns = [loop for loop in tile if extent(schedule, loop) > 1] or [tile[-1]]
    vectors, vector = schedule.split(columns, [None, lanes])
    for loop in [*rows, vectors]:
        schedule.unroll(loop)
    schedule.vectorize(vector)


def _tile(rows: int, columns: int, target: Target) -> tuple[int, int]:
    """Rows and columns, divisors of the given numbers, for the most products a cycle."""
    return max(
        (
            (height, width)
            for width in divisors(columns)
            for height in divisors(rows)
            if height * (width // _lanes(width, target)) <= max_accumulators(target)
        ),
        key=lambda tile: (_products_a_cycle(tile, target), tile),
    )


def _products_a_cycle(tile: tuple[int, int], target: Target) -> float:
    """Or two, rather: a CPU starts two multiplications and two loads in each, and the first of them takes some time."""
    height, width = tile
    vectors = width // _lanes(width, target)
    return height * width / max(height * vectors, height + vectors, _LATENCY)


def _lanes(width: int, target: Target) -> int:
    """Of the longest vectors that fit a register whole: LLVM takes others apart, and their elements one by one."""
    return min(width & -width, target.lanes)


def _extent(loop: Loop) -> int:
    return loop.extent
