"""Compiles a TVM schedule whose decisions are all taken: the steps that need no search, and code generation."""

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

# Levels of the x86-64 psABI. Each is a subset of the ISA of that name in ``compiler.workloads.target``. The CPU's own
# model is not used: LLVM detects it by family rather than by CPUID, and emits AMX or AVX512_FP16 even on a virtual
# machine that masks them. The gain would be small, because the schedule decides what matters for speed.
_MCPU: Mapping[str, str] = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "reference": "x86-64"}

_PACKS = "meta_schedule.layout_rewrite_preproc"  # annotation that RewriteLayout puts on a block


@dataclass(frozen=True)
class CompiledFunction:
    """Machine code of a PrimFunc, and of the functions that pack its constants.

    Attributes:
        module: the functions; ``main`` is the PrimFunc.
        packs: by the name of a parameter, the function that packs it, and the packed shape. ``main`` takes such a
            parameter packed.
    """

    module: tvm.runtime.Module
    packs: Mapping[str, tuple[str, tuple[int, ...]]]


def tvm_target(target: Target) -> tvm.target.Target:
    """Returns TVM's target for the same ISA and number of cores."""
    return tvm.target.Target(_attributes(target))


def program_target(target: Target) -> tvm.target.Target:
    """Returns TVM's target for the generated code of models, which LLVM does not vectorize further.

    LLVM 22's loop vectorizer miscompiles some loops with remainders for AVX-512, such as a Tile of 3x4x5 by 6x4x2.
    The generic schedule vectorizes loops itself.
    """
    return tvm.target.Target({**_attributes(target), "cl-opt": ["-vectorize-loops=0"]})


def _attributes(target: Target) -> dict[str, Any]:
    return {"kind": "llvm", "mcpu": _MCPU[target.isa], "num-cores": target.num_cores}


def compile_schedule(schedule: s_tir.Schedule, target: Target) -> CompiledFunction:
    """Applies what follows from the decisions (threads, vectors, unrolling, layout of constants) and generates code.

    Raises:
        RuntimeError: TVM rejects one of the steps, or the result.
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
            raise RuntimeError(f"TVM's step {type(step).__name__} rejects this schedule")
    functions, packs = _separate_packing(schedule)
    # TvmProgram checks the inputs. Code that checks them again would take a third of the time of compilation.
    with tvm.transform.PassContext(config={"tirx.disable_assert": True}):
        executable = tvm.compile(tvm.IRModule(functions), tvm_target(target))
    return CompiledFunction(executable.mod, packs)


def _share_inputs(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Parallelizes the producers of a tiled block, such as a padded image, over all loops except the innermost."""
    fuse: Any = schedule.fuse
    for producer in schedule.get_producers(block):
        loops = schedule.get_loops(producer)
        unchanged = len(loops) == len(get(schedule, producer).iter_vars)  # no rule has transformed it
        if target.num_cores > 1 and unchanged and len(loops) > 1:
            schedule.parallel(fuse(*loops[:-1]))


def _finish_tiled(schedule: s_tir.Schedule, block: Any, target: Target) -> None:
    """Parallelizes the outer tiles, vectorizes the register tile and unrolls it with the inner reduction loops.

    Unrolls here because LLVM promotes accumulators to registers, which requires constant indices, before it unrolls.
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
    if target.num_cores > 1:  # before decompose_reduction: TVM requires the entire reduction inside a parallel loop
        fuse: Any = schedule.fuse
        schedule.parallel(fuse(*loops[:spatial]))
    init = schedule.decompose_reduction(block, loops[first_reduction])
    _vectorize(schedule, schedule.get_loops(init)[-spatial - 1 :])


def _vectorize(schedule: s_tir.Schedule, loops: Sequence[Any]) -> None:
    """Vectorizes the innermost loop and unrolls the others."""
    for loop in loops[:-1]:
        schedule.unroll(loop)
    schedule.vectorize(loops[-1])


def _separate_packing(
    schedule: s_tir.Schedule,
) -> tuple[dict[str, tirx.PrimFunc], dict[str, tuple[str, tuple[int, ...]]]]:
    """Moves the loops with which RewriteLayout packs constants out of ``main``, into separate functions."""
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
