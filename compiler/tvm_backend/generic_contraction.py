"""Schedules contractions without a kernel, such as matrix products of two inputs: a register tile, chosen by rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import s_tir

from compiler.tvm_backend.generic_access import Loop, Unsupported, divisors, extent, loops_around
from compiler.tvm_backend.tiling import max_accumulators
from compiler.workloads.target import FMA_CHAINS, Target

_MAX_VECTORS = 4  # columns of a register tile, in vectors
_PADDED_ROWS = 4  # rows of the register tile if rows are padded
_MIN_LANES = 4  # with fewer, other schedules are as fast
_MIN_SPEED = 0.7  # relative to the best register tile; below it, a product is padded


def is_contraction(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether a block is a reduction that reuses each of two or more inputs, as matrix products and convolutions do."""
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
        ScheduleError: the block is not a plain matrix product.
        Unsupported: as :func:`arrange_contraction`.
    """
    loops = loops_around(schedule, block)
    lane, row = _tiled_loops(loops)
    if any(loop.extent != loop.multiple for loop in (lane, row) if loop is not None):
        raise Unsupported("products of symbolic sizes are not padded")
    rows = row.extent if row else 1
    best = _throughput(_tile(rows * _PADDED_ROWS, lane.extent * target.lanes, target), target)
    if _throughput(_tile(rows, lane.extent, target), target) < _MIN_SPEED * best:
        multiples = {
            lane: target.lanes * (2 if lane.extent > _MAX_VECTORS * target.lanes else 1),
            row: min(rows, _PADDED_ROWS),
        }
        schedule.pad_einsum(block, [multiples.get(loop, 1) for loop in loops])


def arrange_contraction(schedule: s_tir.Schedule, block: Any, target: Target, threads: int) -> None:
    """Keeps a tile of rows × vectors in registers during the reduction.

    Raises:
        ScheduleError: TVM rejects a step.
        Unsupported: no loop can be vectorized.
    """
    loops = loops_around(schedule, block)
    lane, row = _tiled_loops(loops)
    height, width = _tile(row.multiple if row else 1, lane.multiple, target)
    if _lanes(width, target) < min(_MIN_LANES, target.lanes):
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
    # LLVM keeps a buffer of the tile's size in registers, because its indices are constants once rows are unrolled.
    write = schedule.cache_write(block, 0, "local")
    schedule.reverse_compute_at(write, lane_outer, preserve_unit_loops=True)
    _vectorize(schedule, schedule.get_loops(write)[len(outer) :], _lanes(width, target))
    _vectorize(schedule, tile, _lanes(width, target))
    fused = len(outer)
    if threads > 1:  # before decompose_reduction: TVM requires the entire reduction inside a parallel loop
        fuse: Any = schedule.fuse
        schedule.parallel(fuse(*outer))
        fused = 1
    init = schedule.decompose_reduction(block, reductions[0])
    _vectorize(schedule, schedule.get_loops(init)[fused:], _lanes(width, target))


def _tiled_loops(loops: Sequence[Loop]) -> tuple[Loop, Loop | None]:
    """Returns the loop to vectorize, and the loop for rows, along which the vectors of an input are reused.

    Raises:
        Unsupported: no loop can be vectorized.
    """
    spatial = [loop for loop in loops if not loop.reduction and loop.extent > 1]
    lane = max((loop for loop in spatial if loop.streams), key=_extent, default=None)
    if lane is None:
        raise Unsupported("no loop can be vectorized")
    vectors = [i for i, stride in enumerate(lane.loads) if stride == 1]
    rows = [loop for loop in spatial if loop is not lane and all(loop.loads[i] == 0 for i in vectors)]
    return lane, max(rows, key=_extent, default=None)


def _vectorize(schedule: s_tir.Schedule, tile: Sequence[Any], lanes: int) -> None:
    """Vectorizes the innermost loop with more than one iteration and unrolls the others."""
    *rows, columns = [loop for loop in tile if extent(schedule, loop) > 1] or [tile[-1]]
    vectors, vector = schedule.split(columns, [None, lanes])
    for loop in [*rows, vectors]:
        schedule.unroll(loop)
    schedule.vectorize(vector)


def _tile(rows: int, columns: int, target: Target) -> tuple[int, int]:
    """Returns rows and columns, divisors of the given numbers, with the highest throughput."""
    return max(
        (
            (height, width)
            for width in divisors(columns)
            for height in divisors(rows)
            if height * (width // _lanes(width, target)) <= max_accumulators(target)
        ),
        key=lambda tile: (_throughput(tile, target), tile),
    )


def _throughput(tile: tuple[int, int], target: Target) -> float:
    """Products per half cycle on a CPU that starts two FMAs and two loads per cycle, if FMA_CHAINS hide the latency."""
    height, width = tile
    vectors = width // _lanes(width, target)
    return height * width / max(height * vectors, height + vectors, FMA_CHAINS)


def _lanes(width: int, target: Target) -> int:
    """Lanes of the longest power-of-two vector that divides ``width``; LLVM splits other vectors into scalars."""
    return min(width & -width, target.lanes)


def _extent(loop: Loop) -> int:
    return loop.extent
