"""Arranges the loops of one block by their strides: order, vectors, threads. No search, no measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm import s_tir, tirx

from compiler.tvm_backend.generic_access import (
    CHEAP_CALLS,
    Loop,
    calls,
    divisors,
    is_constant,
    is_guarded,
    iterations,
    loops_around,
    predicate_uses,
)
from compiler.tvm_backend.narrow_indices import PARTITION, is_narrowable
from compiler.workloads.target import Target

_MAX_VECTORS = 4  # accumulators of a reduction, which hide the latency of an addition
_LONG_REDUCTION = 64  # vectors, in which adding up the lanes of several accumulators takes little
_TRANSPOSED_TILE = 16  # one cache line of float32
_SHORTEST_RUN = 8  # iterations between two cases of a concatenation or of padding
_MAX_TAPS = 32  # of an unrolled window
_TASKS_PER_THREAD = 4  # tasks are of equal size, but a thread may start late
_SHORTEST_PERIOD = 4  # iterations between two jumps of an access
_FEWEST_PEELED = 2  # vectors of a loop whose last one is partial
_FEWEST_LANES = 4  # shorter vectors are no faster than elements


@dataclass(frozen=True)
class Block:
    """A block: ``depth`` outer loops are shared with other blocks; ``threads`` threads may run its own loops."""

    schedule: s_tir.Schedule
    rv: Any
    target: Target
    depth: int = 0
    threads: int = 1

    def arrange(self) -> None:
        """Orders and vectorizes the block's own loops and parallelizes the outer ones.

        Raises:
            ScheduleError: TVM rejects a step.
            Unsupported: see :func:`~compiler.tvm_backend.generic_access.loops_around`.
        """
        loops = merged(self.schedule, self._without_jumps())
        longer = [loop for loop in loops if loop.extent > 1]
        if any(loop.reduction for loop in longer):
            # TVM initializes a reduction outside of all of its loops, also of those with one iteration.
            self._reduce([loop for loop in loops if loop.extent > 1 or loop.reduction])
        else:
            self._map(longer)

    def _without_jumps(self) -> list[Loop]:
        """Splits loops where an access jumps, so that it has a stride; returns the block's own loops."""
        loops = loops_around(self.schedule, self.rv)
        jumping = [loop for loop in loops[self.depth :] if _SHORTEST_PERIOD <= loop.period < loop.extent]
        for loop in jumping:
            self.schedule.split(loop.rv, [None, loop.period])
        return (loops_around(self.schedule, self.rv) if jumping else loops)[self.depth :]

    def _map(self, loops: Sequence[Loop]) -> None:
        """Arranges a block without a reduction."""
        inner = next((loop for loop in reversed(loops) if loop.store == 1), None)
        if inner is None:
            self._parallel(loops)
            return
        outer = [loop for loop in loops if loop is not inner]
        crossing = _crossing(outer, inner)
        if crossing is not None:
            self._transpose(outer, inner, crossing)
            return
        self._reorder(outer, inner)
        if self._needs_peeling(inner):
            self._map_peeled(outer, inner)
            return
        if inner.positional:
            inner = self._map_runs(inner)
        elif inner.streams:
            inner = self._vectorize(inner)
        self._parallel(outer, inner)

    def _map_runs(self, inner: Loop) -> Loop:
        """Splits a loop into runs in which all iterations compute the same expression, and vectorizes these."""
        lanes = _whole_vectors(inner.run, self.target.lanes)
        if inner.streams and lanes >= _FEWEST_LANES:
            inner, vector = _split(self.schedule, inner, lanes)
            self.schedule.vectorize(vector)
        elif inner.run >= _SHORTEST_RUN:  # no branch in the inner loop
            inner, _ = _split(self.schedule, inner, inner.run)
        return inner

    def _needs_peeling(self, inner: Loop) -> bool:
        """Whether a loop should have vectors that do not divide it: the longest that does is half of one or less.

        TVM peels the last, partial vector if all sizes are constants of 32 bits. It would divide the indices of merged
        loops.
        """
        lanes = self.target.lanes
        can = inner.streams and not inner.positional and not inner.rows and inner.extent >= _FEWEST_PEELED * lanes
        if not can or self._vector(inner) > lanes // 2 or is_guarded(self.schedule, self.rv):
            return False
        return is_constant(self.schedule, self.rv) and is_narrowable(self.schedule.mod["main"])

    def _map_peeled(self, outer: Sequence[Loop], inner: Loop) -> None:
        """Vectorizes a loop whose last vector is partial, and parallelizes it if the outer loops are too few."""
        schedule = self.schedule
        tasks = 1 if self.threads < 2 or self._balanced(iterations(outer)) else self.threads
        task, vectors, lanes = schedule.split(inner.rv, [tasks, None, self.target.lanes])
        schedule.annotate(vectors, PARTITION, 1)
        schedule.vectorize(lanes)
        if self.threads > 1:
            self._parallelize([*(loop.rv for loop in outer), task])

    def _vectorize(self, inner: Loop) -> Loop:
        """Vectorizes a loop if a vector divides it."""
        lanes = self._vector(inner)
        if lanes < _FEWEST_LANES:
            return inner
        outer, vector = _split(self.schedule, inner, lanes)
        self.schedule.vectorize(vector)
        return outer

    def _transpose(self, outer: Sequence[Loop], inner: Loop, crossing: Loop) -> None:
        """Tiles ``crossing``, which reads are contiguous along, and ``inner``, which stores are contiguous along.

        So both access entire cache lines while the lines are cached.
        """
        others = [loop for loop in outer if loop is not crossing]
        tile = max(d for d in divisors(crossing.multiple) if d <= _TRANSPOSED_TILE)
        across, along = _split(self.schedule, crossing, tile)
        reorder: Any = self.schedule.reorder
        reorder(*(loop.rv for loop in [*others, across, inner]), along)
        self._parallel([*others, across])

    def _reduce(self, loops: Sequence[Loop]) -> None:
        schedule = self.schedule
        spatial = [loop for loop in loops if not loop.reduction]
        reductions = [loop for loop in loops if loop.reduction]
        for loop in reductions:
            # TVM's partition compares sizes of 32 and 64 bits if an outer loop is symbolic.
            if predicate_uses(schedule, self.rv, loop.rv) and is_constant(schedule, self.rv):
                schedule.annotate(loop.rv, PARTITION, 1)
        lane = next((loop for loop in reversed(spatial) if loop.streams), None)
        outer = [loop for loop in spatial if loop is not lane]
        width = None if lane is None else _accumulators(lane, self._vector(lane))
        if lane is None:
            self._reorder(outer, *reductions)
            self._parallel(outer)
            schedule.decompose_reduction(self.rv, reductions[0].rv)
            if outer and iterations(reductions) <= _MAX_TAPS:  # LLVM then vectorizes the loop around them
                for loop in reductions:
                    found: Any = schedule.get(loop.rv)
                    # TVM cannot unroll the parts of a loop that depend on other loops.
                    if isinstance(found.extent, tirx.IntImm) and PARTITION not in found.annotations:
                        schedule.unroll(loop.rv)
        elif width is None:  # accumulators in the cache
            self._reorder([*outer, *reductions], lane)
            self._parallel(outer)
            schedule.decompose_reduction(self.rv, reductions[0].rv)
        else:  # accumulators in registers
            vectors, lanes = _split(schedule, lane, width)
            reorder: Any = schedule.reorder
            reorder(*(loop.rv for loop in [*outer, vectors, *reductions]), lanes)
            self._parallel(outer, vectors)
            schedule.vectorize(lanes)  # before decompose_reduction: TVM must see the reduction
            init = schedule.decompose_reduction(self.rv, reductions[0].rv)
            schedule.vectorize(schedule.get_loops(init)[-1])

    def _vector(self, loop: Loop) -> int:
        """Returns the length of the vectors of a loop. They cross rows of merged loops only in expensive functions.

        TVM divides each lane of the indices of such vectors.
        """
        length = _row_vectors(loop, self.target.lanes)
        node: Any = self.schedule.get(self.rv)
        if length < _FEWEST_LANES and calls(node.body) - CHEAP_CALLS:
            return _whole_vectors(loop.multiple, self.target.lanes)
        return length

    def _reorder(self, outer: Sequence[Loop], *inner: Loop) -> None:
        reorder: Any = self.schedule.reorder
        reorder(*(loop.rv for loop in (*outer, *inner)))

    def _parallel(self, outer: Sequence[Loop], inner: Loop | None = None) -> None:
        """Parallelizes the outer loops, and a part of ``inner`` if they have too few iterations."""
        if self.threads < 2:
            return
        schedule = self.schedule
        rvs = [loop.rv for loop in outer]
        tasks = iterations(outer)
        if inner is not None and not self._balanced(tasks):
            part = next((d for d in divisors(inner.multiple) if self._balanced(tasks * d)), None)
            if part is not None:
                rvs.append(schedule.split(inner.rv, [part, None])[0])
        self._parallelize(rvs)

    def _parallelize(self, rvs: Sequence[Any]) -> None:
        if rvs:
            fuse: Any = self.schedule.fuse
            self.schedule.parallel(fuse(*rvs) if len(rvs) > 1 else rvs[0])

    def _balanced(self, tasks: int) -> bool:
        return tasks >= _TASKS_PER_THREAD * self.threads or tasks % self.threads == 0


def _whole_vectors(size: int, lanes: int) -> int:
    """Returns the longest vector, a power of two, that divides a size."""
    return min(size & -size, lanes)


def _row_vectors(loop: Loop, lanes: int) -> int:
    """Returns the longest vector, a power of two, that divides a loop and that TVM finds contiguous."""
    length = _whole_vectors(loop.multiple, lanes)
    while not _is_contiguous(loop, length):
        length //= 2
    return length


def _is_contiguous(loop: Loop, size: int) -> bool:
    """Whether TVM finds the accesses of a part of a loop contiguous.

    The index of merged loops is a sum of quotients and remainders. TVM simplifies those by multiples of the size, and
    then does not recognize the sum if there are others too.
    """
    return len({row % size == 0 for row in loop.rows}) < 2


def _accumulators(loop: Loop, length: int) -> int | None:
    """Returns how many elements a reduction accumulates in vectors of ``length``; None if they are too short."""
    if length < _FEWEST_LANES:
        return None
    widths = [count * length for count in range(_MAX_VECTORS, 0, -1)]
    return next((width for width in widths if loop.multiple % width == 0 and _is_contiguous(loop, width)), length)


def _split(schedule: s_tir.Schedule, loop: Loop, size: int) -> tuple[Loop, Any]:
    """Splits a loop by a size that divides it; returns the outer and the inner loop."""
    outer, inner = schedule.split(loop.rv, [None, size])
    return replace(loop, rv=outer, extent=loop.extent // size, multiple=loop.multiple // size), inner


def merged(schedule: s_tir.Schedule, loops: Sequence[Loop]) -> list[Loop]:
    """Fuses neighboring loops whose accesses are contiguous across both."""
    fuse: Any = schedule.fuse
    answer: list[Loop] = []
    for loop in loops:
        if answer and _continues(answer[-1], loop):
            before = answer.pop()
            rv = fuse(before.rv, loop.rv)
            extent, multiple = before.extent * loop.extent, before.multiple * loop.multiple
            rows = (*(row * loop.multiple for row in before.rows), loop.multiple)
            loop = replace(loop, rv=rv, extent=extent, multiple=multiple, run=extent, rows=rows)
        answer.append(loop)
    return answer


def _continues(outer: Loop, inner: Loop) -> bool:
    if (
        1 in (outer.extent, inner.extent)
        or inner.extent != inner.multiple
        or outer.positional
        or inner.positional
        or outer.reduction != inner.reduction
    ):
        return False
    strides = zip((outer.store, *outer.loads), (inner.store, *inner.loads), strict=True)
    return all(o is not None and i is not None and o == i * inner.multiple for o, i in strides)


def _crossing(outer: Sequence[Loop], inner: Loop) -> Loop | None:
    """Returns the loop along which an input is contiguous that is strided along the inner loop."""
    for loop in reversed(outer):
        for along, across in zip(loop.loads, inner.loads, strict=True):
            if along == 1 and across not in (0, 1, None):
                return loop
    return None


def separate_transpose(schedule: s_tir.Schedule, block: Any) -> None:
    """Divides a block that transposes what it computes: one computes along its input, with vectors; one transposes.

    Raises:
        ScheduleError: TVM rejects a step.
        Unsupported: see :func:`~compiler.tvm_backend.generic_access.loops_around`.
    """
    loops = loops_around(schedule, block)
    inner = next((loop for loop in reversed(loops) if loop.store == 1 and loop.extent > 1), None)
    if inner is None or any(loop.reduction for loop in loops):
        return
    crossing = _crossing([loop for loop in loops if loop is not inner and loop.extent > 1], inner)
    node: Any = schedule.get(block)
    if crossing is None or len(loops) != len(node.writes[0].region):
        return
    last = loops.index(crossing)
    order = [*(axis for axis in range(len(loops)) if axis != last), last]
    schedule.cache_write(block, 0, "global")
    schedule.transform_layout(block, ("write", 0), lambda *index: [index[axis] for axis in order])


def split_reduction(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Makes a reduction over contiguous elements accumulate in vector lanes, which are added up at the end.

    Raises:
        ScheduleError: TVM rejects a step.
        Unsupported: see :func:`~compiler.tvm_backend.generic_access.loops_around`.
    """
    loops = loops_around(schedule, block)
    if any(loop.streams and loop.extent > 1 for loop in loops if not loop.reduction):
        return
    lane = next((loop for loop in reversed(merged(schedule, loops)) if loop.gathers and loop.extent > 1), None)
    if lane is not None and lane.multiple >= 2 * target.lanes:
        length = _row_vectors(lane, target.lanes)
        length = length if length >= _FEWEST_LANES else target.lanes
        count = _MAX_VECTORS if lane.multiple >= _LONG_REDUCTION * length else 1
        while count > 1 and not _is_contiguous(lane, count * length):
            count //= 2
        _, lanes = schedule.split(lane.rv, [None, count * length])
        node: Any = schedule.get(block)
        schedule.rfactor(lanes, len(node.writes[0].region))
