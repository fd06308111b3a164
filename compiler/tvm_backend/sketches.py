"""Sketches of a PrimFunc by MetaSchedule's design-space generator, and the decisions that they leave open."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import tvm
from tvm import s_tir, tirx
from tvm.ir.utils import derived_object
from tvm.s_tir import meta_schedule as ms
from tvm.s_tir.meta_schedule import _ffi_api, schedule_rule
from tvm.s_tir.meta_schedule.schedule_rule import PyScheduleRule, ScheduleRule

from compiler.tvm_backend.tiling import Tiling
from compiler.workloads.schedule import Choice

# Loops over spatial tiles (S) and over tiles of the reduction (R), outermost first. The innermost spatial tile is the
# register tile, directly inside the entire reduction. TVM's own "SSRSRS" has another reduction loop further out, and
# loads and stores the accumulators in each of its iterations.
TILING = "SSRRS"
TILED = "meta_schedule.tiling_structure"  # annotation that MultiLevelTiling puts on a block

_UNROLL_STEPS = [0, 16, 64, 512]
_JOBS_PER_CORE = 16
_MAX_VECTOR_SPLIT = 64


@dataclass(frozen=True)
class Category:
    """A decision among a few numbers."""

    name: str
    candidates: tuple[int, ...]


Site: TypeAlias = "Tiling | Category"


@dataclass(frozen=True)
class Sketch:
    """A trace, and its open decisions in the order of its sampling instructions."""

    trace: s_tir.Trace
    sites: tuple[Site, ...]

    def apply(self, module: tvm.IRModule, values: Mapping[str, Choice]) -> s_tir.Schedule:
        """Applies the trace to the module, with the decisions in ``values``.

        Raises:
            RuntimeError: TVM took another decision: it silently replaces an impossible one.
        """
        schedule = s_tir.Schedule(module)
        sites = iter(self.sites)

        def decide(instruction: Any, _inputs: Any, _attributes: Any, decision: Any) -> Any:
            return _encode(site := next(sites), values[site.name]) if _is_sampling(instruction) else decision

        self.trace.apply_to_schedule(schedule, remove_postproc=True, decision_provider=decide)
        for name, value in self._decisions(schedule).items():
            if value != values[name]:
                raise RuntimeError(f"TVM took {name} = {value} instead of {values[name]}")
        return schedule

    def _decisions(self, schedule: s_tir.Schedule) -> dict[str, Choice]:
        trace: Any = schedule.trace
        decisions = [trace.get_decision(i) for i in trace.insts if _is_sampling(i)]
        return {site.name: _decode(site, d) for site, d in zip(self.sites, decisions, strict=True)}


def as_module(prim_func: tirx.PrimFunc) -> tvm.IRModule:
    return tvm.IRModule({"main": prim_func.with_attr("global_symbol", "main")})


def generate(module: tvm.IRModule, target: tvm.target.Target, num_cores: int, lanes: int) -> list[Sketch]:
    """Returns all sketches of the module's function ``main``, at least one.

    Tiles blocks that read an input more than once (matrix products, convolutions) for registers. Fuses, vectorizes in
    ``lanes`` and unrolls a function without such blocks, by TVM's own rules.
    """
    inline = [
        schedule_rule.InlineConstantScalars(),
        schedule_rule.AutoInline(
            into_producer=False,
            into_consumer=True,
            inline_const_tensor=True,
            disallow_if_then_else=True,
            require_injective=True,
            require_ordered=True,
        ),
    ]
    tile = schedule_rule.MultiLevelTiling(TILING)
    registers: Any = AccumulateInRegisters()  # a ScheduleRule by its decorator
    schedules = _design_space(module, target, [*inline, tile, registers])
    if not any(tiled_blocks(schedule) for schedule in schedules):
        loops = schedule_rule.ParallelizeVectorizeUnroll(
            max_jobs_per_core=_JOBS_PER_CORE if num_cores > 1 else -1,
            max_vectorize_extent=lanes if lanes > 1 else -1,
            unroll_max_steps=_UNROLL_STEPS,
        )
        split = schedule_rule.AddRFactor(max_jobs_per_core=_JOBS_PER_CORE, max_innermost_factor=_MAX_VECTOR_SPLIT)
        schedules = _design_space(module, target, [*inline, split, loops])
    return _distinct([_sketch(module, schedule.trace) for schedule in schedules])


@derived_object
class AccumulateInRegisters(PyScheduleRule):
    """Accumulates a tiled block in a buffer of the register tile's size, and stores it after the reduction.

    For LLVM, the buffer does not alias anything, and its indices are constants once the loops are unrolled. So LLVM
    keeps it in registers during the reduction. Accumulators in the output, or in the larger cache that MultiLevelTiling
    can add, stay in registers only if alias analysis and loop-invariant code motion succeed.
    """

    def _initialize_with_tune_context(self, context: ms.TuneContext) -> None:
        pass

    def apply(self, sch: s_tir.Schedule, block: Any) -> list[s_tir.Schedule]:
        if not is_tiled(sch, block):
            return [sch]
        tile = sch.get_loops(block)[2 * num_spatial(sch, block) - 1]
        consumer = _epilogue(sch, block)
        if consumer:
            sch.set_scope(block, 0, "local")
            if _written_shape(sch, consumer) != _written_shape(sch, block):
                # The consumer skips padding with a test per element, which is too much code when unrolled. A loop that
                # is not unrolled cannot index registers, so they are first copied to memory.
                sch.reverse_compute_at(sch.cache_write(block, 0, "local"), tile, preserve_unit_loops=True)
        else:
            consumer = sch.cache_write(block, 0, "local")
        sch.reverse_compute_at(consumer, tile, preserve_unit_loops=True)
        return [sch]

    def clone(self) -> Any:
        return AccumulateInRegisters()


def tiled_blocks(schedule: s_tir.Schedule) -> list[Any]:
    """Returns the blocks that MultiLevelTiling tiled."""
    root = schedule.get_sblock("root", func_name="main")
    return [block for block in schedule.get_child_blocks(root) if is_tiled(schedule, block)]


def is_tiled(schedule: s_tir.Schedule, block: Any) -> bool:
    return TILED in get(schedule, block).annotations


def num_spatial(schedule: s_tir.Schedule, block: Any) -> int:
    """Returns the number of spatial axes of a block."""
    return len(_spatial(get(schedule, block)))


def get(schedule: s_tir.Schedule, variable: Any) -> Any:
    """Returns the block or loop of a schedule's variable. TVM's annotation is a union that also includes numbers."""
    return schedule.get(variable)


def _spatial(block: s_tir.SBlock) -> list[tirx.Var]:
    return [axis.var for axis in block.iter_vars if axis.iter_type == tirx.IterVar.DataPar]


def _written_shape(schedule: s_tir.Schedule, block: Any) -> list[int]:
    return [int(size) for size in get(schedule, block).writes[0].source.shape]


def _epilogue(schedule: s_tir.Schedule, block: Any) -> Any | None:
    """Returns the elementwise consumer of ``block``, if it is the only consumer and reads no other block."""
    consumers = schedule.get_consumers(block)
    result = get(schedule, block).writes[0].source
    main: Any = schedule.mod["main"]
    if len(consumers) != 1 or any(result.same_as(parameter) for parameter in main.params):
        return None
    consumer = get(schedule, consumers[0])
    axes = _spatial(consumer)
    regions = [*consumer.writes, *(region for region in consumer.reads if region.source.same_as(result))]
    elementwise = len(axes) == len(consumer.iter_vars) and all(
        len(region.region) == len(axes)
        and all(r.min.same_as(axis) for r, axis in zip(region.region, axes, strict=True))
        for region in regions
    )
    return consumers[0] if elementwise and len(schedule.get_producers(consumers[0])) == 1 else None


def _design_space(
    module: tvm.IRModule, target: tvm.target.Target, rules: Sequence[ScheduleRule]
) -> list[s_tir.Schedule]:
    generator = ms.space_generator.PostOrderApply(sch_rules=list(rules), postprocs=[], mutator_probs={})
    # TuneContext's constructor first imports the tensor intrinsics of all targets. That takes 20 s once per process,
    # and these rules do not use them. So this code does only what the constructor does last.
    ffi: Any = _ffi_api
    context = ms.TuneContext.__new__(ms.TuneContext)
    context.__init_handle_by_constructor__(ffi.TuneContext, module, target, generator, None, "main", 1, 1, None)
    ffi.TuneContextInitialize(context)
    return list(generator.generate_design_space(module))


def _sketch(module: tvm.IRModule, trace: Any) -> Sketch:
    """Replays a trace to find the loop of each of its sampling instructions."""
    trace = trace.simplified(remove_postproc=True)
    schedule = s_tir.Schedule(module)
    sites: list[Site] = []

    def look(instruction: Any, inputs: Any, attributes: Any, decision: Any) -> Any:
        if instruction.kind.name == "SamplePerfectTile":
            levels, max_innermost = (int(attribute) for attribute in attributes)
            sites.append(_tiling(get(schedule, inputs[0]), levels, max_innermost))
        elif instruction.kind.name == "SampleCategorical":
            sites.append(Category("unroll", tuple(int(candidate) for candidate in attributes[0])))
        elif _is_sampling(instruction):
            raise RuntimeError(f"unsupported sampling instruction: {instruction}")
        return decision

    trace.apply_to_schedule(schedule, remove_postproc=True, decision_provider=look)
    return Sketch(trace, tuple(sites))


def _distinct(sketches: list[Sketch]) -> list[Sketch]:
    """Qualifies the names of tilings by their blocks, if axes of several blocks have the same names."""
    tilings = {site for sketch in sketches for site in sketch.sites if isinstance(site, Tiling)}
    if len({tiling.name for tiling in tilings}) == len(tilings):
        return sketches

    def qualified(site: Site) -> Site:
        return dataclasses.replace(site, name=f"{site.block}.{site.name}") if isinstance(site, Tiling) else site

    return [dataclasses.replace(sketch, sites=tuple(map(qualified, sketch.sites))) for sketch in sketches]


def _tiling(loop: Any, levels: int, max_innermost: int) -> Tiling:
    """Describes the split of a loop of a perfect loop nest."""
    nest = loop
    while not isinstance(nest, s_tir.SBlockRealize):
        nest = nest.body
    axis = next(a.var for a, v in zip(nest.block.iter_vars, nest.iter_values, strict=True) if v.same_as(loop.loop_var))
    spatial = _spatial(nest.block)
    return Tiling(
        name=f"tile_{loop.loop_var.name}",
        block=nest.block.name_hint,
        extent=int(loop.extent),
        levels=levels,
        reduction=not any(axis.same_as(s) for s in spatial),
        vector=levels == TILING.count("S") and bool(spatial) and axis.same_as(spatial[-1]),
        max_innermost=max_innermost if max_innermost > 0 else None,
    )


def _is_sampling(instruction: Any) -> bool:
    return instruction.kind.name.startswith("Sample")


def _encode(site: Site, value: Any) -> Any:
    return value if isinstance(site, Tiling) else site.candidates.index(value)


def _decode(site: Site, decision: Any) -> Choice:
    return tuple(int(factor) for factor in decision) if isinstance(site, Tiling) else site.candidates[int(decision)]
