"""Schedules every function of a module that has no schedule: vectors and threads, by rules and without search."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import takewhile
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.relax.backend.cpu_generic import pipeline as cpu

from compiler.tvm_backend.codegen import program_target
from compiler.tvm_backend.expanded_size import LARGEST, expanded_size
from compiler.tvm_backend.flat_elementwise import flattened
from compiler.tvm_backend.generic_access import (
    CHEAP_CALLS,
    TYPICAL,
    Unsupported,
    calls,
    extent,
    is_guarded,
    iterations,
    loads_one_of_several,
    loops_around,
    runs,
)
from compiler.tvm_backend.generic_blocks import Block, separate_transpose, split_reduction
from compiler.tvm_backend.generic_contraction import arrange_contraction, is_contraction, pad_contraction
from compiler.tvm_backend.narrow_indices import narrowed
from compiler.tvm_backend.outline_branches import outline_branches
from compiler.tvm_backend.share_shapes import share_shapes
from compiler.tvm_backend.vector_math import vectorizable
from compiler.workloads.target import Target

_SCHEDULED = "tirx.is_scheduled"
_CALL_COST = 8  # of exp and similar functions, relative to copying an element
_MAX_RECOMPUTE = 1.25  # factor on the work, if computing something twice keeps it in the cache

# TVM rejects a step, or these rules do not support a block. Steps run on copies of a schedule. Some fail a check of TVM
# (InternalError) on loops of one iteration.
_REJECTED = (s_tir.ScheduleError, tvm.error.InternalError, Unsupported)


def relax_pipeline(target: Target, typical: Mapping[str, int] | None = None) -> tvm.transform.Pass:
    """Returns the pass pipeline for ``tvm.relax.build``: TVM's own for CPUs, with schedules for all functions.

    The build must have the option ``tirx.disable_assert``; see :func:`schedule_functions`.
    """
    llvm = program_target(target)

    def lower(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        passes = [
            *cpu.library_dispatch_passes(llvm),
            outline_branches,
            *cpu.legalize_passes(llvm),
            schedule_functions(target, typical),
            *cpu.dataflow_lower_passes(llvm),
            *cpu.finalize_passes(llvm),
            *([share_shapes] if typical else []),
        ]
        with llvm:
            return tvm.transform.Sequential(passes)(module)

    return _module_pass(lower, "loopwright.relax_pipeline")


def schedule_functions(target: Target, typical: Mapping[str, int] | None = None) -> tvm.transform.Pass:
    """Returns a pass that schedules each PrimFunc without the mark ``tirx.is_scheduled``, and sets the mark.

    Elementwise functions take flat tensors afterwards, so the build must have the option ``tirx.disable_assert``. In a
    function that the rules do not support only the calls of exp and similar functions are replaced by arithmetic.

    Args:
        typical: a value of each symbolic size by name, which counts where the number of iterations matters.
    """

    def schedule_all(module: tvm.IRModule, _context: tvm.transform.PassContext) -> tvm.IRModule:
        module = module.clone()
        for name, function in module.functions_items():
            if isinstance(function, tirx.PrimFunc) and not (function.attrs or {}).get(_SCHEDULED, False):
                sized = function.with_attr(TYPICAL, dict(typical)) if typical else function
                scheduled = _scheduled(sized, target)
                module.update_func(name, scheduled.without_attr(TYPICAL) if typical else scheduled)
        return module

    return _module_pass(schedule_all, "loopwright.schedule_functions")


def _module_pass(function: Callable[..., tvm.IRModule], name: str) -> Any:
    return tvm.transform.module_pass(function, opt_level=0, name=name)


def _scheduled(function: Any, target: Target) -> Any:
    if isinstance(function.body, s_tir.SBlockRealize):
        schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
        _inline(schedule)
        schedule = s_tir.Schedule(tvm.IRModule({"main": flattened(schedule.mod["main"])}))
        with suppress(Unsupported):
            schedule = _arranged(schedule, target)
        function = narrowed(schedule.mod["main"])
    return vectorizable(function).with_attr(_SCHEDULED, True)


def _arranged(schedule: s_tir.Schedule, target: Target) -> s_tir.Schedule:
    blocks = _blocks(schedule)
    contractions = [block for block in blocks if is_contraction(schedule, block)]
    for block in blocks:
        prepare = pad_contraction if block in contractions else split_reduction
        schedule = _attempt(schedule, partial(prepare, block=block, target=target))
    prepared = len(_blocks(schedule))
    for block in blocks:
        if _is_expensive(schedule, block):
            schedule = _attempt(schedule, partial(separate_transpose, block=block))
    blocks = _blocks(schedule)
    transposes = len(blocks) > prepared  # tensors of which no rows can be shared
    shared = None if contractions or transposes else _share_rows(schedule, blocks, target)
    if shared is not None:
        return shared
    for block in blocks:
        threads = _threads(schedule, [block], target)
        steps = [partial(_arrange, block=block, target=target, threads=threads)]
        if is_contraction(schedule, block):
            steps.insert(0, partial(arrange_contraction, block=block, target=target, threads=threads))
        schedule = _attempt(schedule, *steps, partial(_spread, block=block, threads=threads))
    return schedule


def _share_rows(schedule: s_tir.Schedule, blocks: Sequence[Any], target: Target) -> s_tir.Schedule | None:
    """Runs all blocks inside common outer loops, so that intermediate values stay in the cache.

    Returns None if every choice of loops computes too much twice.
    """
    if len(blocks) < 2 or len(schedule.get_output_blocks(_root(schedule))) != 1:
        return None
    *producers, last = blocks
    if any(is_guarded(schedule, block) for block in producers):  # compute_at drops the guard
        return None
    if any(loads_one_of_several(schedule, block) for block in blocks):  # compute_at follows the regions that are read
        return None
    try:
        work = _work(schedule, blocks)
        loops = loops_around(schedule, last)
    except Unsupported:
        return None
    spatial = list(takewhile(lambda loop: not loop.reduction, loops))
    threads = _threads(schedule, blocks, target)
    for depth in range(len(spatial), 0, -1):
        if iterations(spatial[:depth]) == 1 or spatial[depth - 1].streams or spatial[depth - 1].extent == 1:
            continue
        trial = schedule.copy()
        fuse: Any = trial.fuse
        try:
            row = fuse(*(loop.rv for loop in spatial[:depth]))
            for block in reversed(producers):
                trial.compute_at(block, row, preserve_unit_loops=True)
            if _work(trial, blocks) > _MAX_RECOMPUTE * work:
                continue
            if threads > 1:
                trial.parallel(row)
        except _REJECTED:
            continue
        for block in blocks:
            trial = _attempt(trial, partial(_arrange, block=block, target=target, depth=1))
        return trial
    return None


def _arrange(schedule: s_tir.Schedule, block: Any, target: Target, depth: int = 0, threads: int = 1) -> None:
    Block(schedule, block, target, depth, threads).arrange()


def _spread(schedule: s_tir.Schedule, block: Any, threads: int) -> None:
    """Parallelizes the outermost loop, and does nothing else."""
    loop: Any = next((loop for loop in schedule.get_loops(block) if extent(schedule, loop) > 1), None)
    if threads > 1 and loop is not None:
        schedule.parallel(loop)


def _inline(schedule: s_tir.Schedule) -> None:
    """Inlines blocks that are cheap to compute into their consumers.

    Repeats that until no block is inlined: one with two consumers may have a single one when they are merged.
    """
    while sum(_try_inline(schedule, block) for block in _blocks(schedule)) > 0:
        pass


def _try_inline(schedule: s_tir.Schedule, block: Any) -> bool:
    """Inlines a block if that is worth it and TVM can; returns whether it did."""
    if not _worth_inlining(schedule, block):
        return False
    try:
        schedule.compute_inline(block)
    except s_tir.ScheduleError:
        return False
    return True


def _worth_inlining(schedule: s_tir.Schedule, block: Any) -> bool:
    consumers = schedule.get_consumers(block)
    statement: Any = schedule.get(block)
    try:
        own = runs(schedule, block)
        theirs = sum(runs(schedule, consumer) for consumer in consumers)
    except Unsupported:
        return False
    if not consumers or any(is_contraction(schedule, consumer) for consumer in consumers):
        return False
    names = calls(statement.body)
    if any(_reduces(schedule, consumer) for consumer in consumers) and "tirx.if_then_else" in names:
        return False
    if not names - CHEAP_CALLS:
        return True
    return theirs <= own and all(_is_compiled_soon(schedule, block, consumer) for consumer in consumers)


def _is_compiled_soon(schedule: s_tir.Schedule, block: Any, consumer: Any) -> bool:
    """Whether a consumer is a small expression with a block inlined that calls exp or similar functions."""
    inner: Any = schedule.get(block)
    outer: Any = schedule.get(consumer)
    if not isinstance(inner.body, tirx.BufferStore) or not isinstance(outer.body, tirx.BufferStore):
        return True
    result, size = inner.body.buffer, expanded_size(inner.body.value)
    return expanded_size(outer.body.value, lambda source: size if source.same_as(result) else 1) <= LARGEST


def _reduces(schedule: s_tir.Schedule, block: Any) -> bool:
    statement: Any = schedule.get(block)
    return any(axis.iter_type != axis.DataPar for axis in statement.iter_vars)


def _blocks(schedule: s_tir.Schedule) -> list[Any]:
    return list(schedule.get_child_blocks(_root(schedule)))


def _root(schedule: s_tir.Schedule) -> Any:
    main: Any = schedule.mod["main"]
    return schedule.get_sblock(main.body.block.name_hint)


def _work(schedule: s_tir.Schedule, blocks: Sequence[Any]) -> int:
    return sum(runs(schedule, block) for block in blocks)


def _is_expensive(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether a block calls exp or similar functions."""
    statement: Any = schedule.get(block)
    return bool(calls(statement.body) - CHEAP_CALLS)


def _threads(schedule: s_tir.Schedule, blocks: Sequence[Any], target: Target) -> int:
    """Returns the number of threads for which the work of the blocks is large enough."""
    elements = 0
    for block in blocks:
        cost = _CALL_COST if _is_expensive(schedule, block) else 1
        elements += cost * runs(schedule, block)
    # as threads_worth in kernels/cpp/include/loopwright/thread_pool.h
    return max(1, min(elements // target.model.floats_worth_a_thread(), target.num_cores))


def _attempt(schedule: s_tir.Schedule, *steps: Callable[[s_tir.Schedule], Any]) -> s_tir.Schedule:
    """Returns the schedule after the first step that succeeds; unchanged if none does."""
    for step in steps:
        trial = schedule.copy()
        try:
            step(trial)
        except _REJECTED:
            continue
        return trial
    return schedule
