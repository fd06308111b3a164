"""A schedule with all decisions taken -> machine code: what every schedule needs and no search has to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import s_tir, tirx
from tvm.s_tir import meta_schedule as ms

from compiler.tvm_backend.sketches import get, num_spatial, tiled_blocks
from compiler.tvm_backend.tiling import vector_lanes
from compiler.workloads.target import Target

# Levels of the x86-64 psABI, each within what its name in ``compiler.workloads.target`` stands for. The CPU's own model would be
# a guess with no gain: LLVM knows it by family, not by CPUID, and on a virtual machine that masks AMX or AVX512_FP16
# emits them all the same; and everything that decides the speed here is chosen by the schedule.
_MCPU: Mapping[str, str] = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "reference": "x86-64"}

_PACKS = "meta_schedule.layout_rewrite_preproc"  # the annotation that RewriteLayout leaves on a block


@dataclass(frozen=True)
class Lowered:
    """Machine code for a PrimFunc, and for laying out its constants.

    Where ``packs`` names a function for a parameter, ``main`` takes it in the layout that this function makes, of the
    shape that stands beside the function's name.
    """

    module: tvm.runtime.Module
    packs: Mapping[str, tuple[str, tuple[int, ...]]]


def tvm_target(target: Target) -> tvm.target.Target:
    return tvm.target.Target({"kind": "llvm", "mcpu": _MCPU[target.isa], "num-cores": target.num_cores})


def lower(schedule: s_tir.Schedule, target: Target) -> Lowered:
    """Takes the steps that follow from the decisions (threads, vectors, unrolling, layout of constants) and compiles.

    Raises:
        RuntimeError: TVM refuses one of the steps, or the result.
    """
    blocks = tiled_blocks(schedule)
    for block in blocks:
        _share_inputs(schedule, block, target)
        _finish_tiled(schedule, block, target)
    steps = [ms.postproc.RewriteLayout()]
    if not blocks:
        steps = [ms.postproc.RewriteParallelVectorizeUnroll(), ms.postproc.RewriteReductionBlock(), *steps]
    for step in steps:
        if not step.apply(schedule):
            raise RuntimeError(f"{type(step).__name__} refuses this schedule")
    functions, packs = _separate_packing(schedule)
    # The program has checked its inputs, and the code that would do so again takes a third of the time to compile.
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        executable = tvm.compile(tvm.IRModule(functions), tvm_target(target))
    return Lowered(executable.mod, packs)


def _share_inputs(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Threads share what is prepared for a tiled block, such as an image's border, by all but its innermost loop."""
    fuse: Any = schedule.fuse
    for producer in schedule.get_producers(block):
        loops = schedule.get_loops(producer)
        whole = len(loops) == len(get(schedule, producer).iter_vars)  # no rule has done anything to it
        if target.num_cores > 1 and whole and len(loops) > 1:
            schedule.parallel(fuse(*loops[:-1]))


def _finish_tiled(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Threads share the outer tiles; the register tile is vectorized, and unrolled with the inner reduction loops.

    Unrolled here, since LLVM would do so only after it has tried to keep the accumulators in registers: that takes
    constant indices.
    """
    spatial = num_spatial(schedule, block)
    loops = schedule.get_loops(block)
    reductions = (len(loops) - 3 * spatial) // 2
    first_reduction, first_unrolled = 2 * spatial, 2 * spatial + reductions
    lanes = vector_lanes(int(get(schedule, loops[-1]).extent), target.lanes)
    (write,) = schedule.get_consumers(block)
    for stage, unrolled in (block, first_unrolled), (write, first_reduction):
        inner = schedule.get_loops(stage)[unrolled:]
        _vectorize(schedule, [*inner[:-1], *schedule.split(inner[-1], [None, lanes])])
    if target.num_cores > 1:  # while the block is still whole: TVM asks of a parallel loop to see the whole reduction
        fuse: Any = schedule.fuse
        schedule.parallel(fuse(*loops[:spatial]))
    init = schedule.decompose_reduction(block, loops[first_reduction])
    _vectorize(schedule, schedule.get_loops(init)[-spatial - 1 :])


def _vectorize(schedule: s_tir.Schedule, loops: Sequence[Any]) -> None:
    """The innermost loop becomes a vector, those around it straight code."""
    for loop in loops[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(loops[-1])


def _separate_packing(
    schedule: s_tir.Schedule,
) -> tuple[dict[str, tirx.PrimFunc], dict[str, tuple[str, tuple[int, ...]]]]:
    """The loops by which RewriteLayout packs constants, out of ``main`` into functions of their own."""
    functions: dict[str, tirx.PrimFunc] = {}
    packs: dict[str, tuple[str, tuple[int, ...]]] = {}
    for block in schedule.get_child_blocks(schedule.get_sblock("root", func_name="main")):
        packing = get(schedule, block)
        if _PACKS in packing.annotations:
            constant, packed = packing.reads[0].source, packing.writes[0].source
            body = s_tir.SBlock([], [], [], "root", get(schedule, schedule.get_loops(block)[0]))
            function = tirx.PrimFunc([constant, packed], s_tir.SBlockRealize([], True, body))
            name = f"pack_{constant.name}"
            functions[name] = s_tir.renew_defs(function).with_attr({"global_symbol": name, "tirx.noalias": True})
            packs[constant.name] = name, tuple(int(size) for size in packed.shape)
    main = s_tir.transform.RemoveWeightLayoutRewriteBlock()(schedule.mod)["main"]
    return {"main": main, **functions}, packs
