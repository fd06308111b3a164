"""Schedule spaces of TVM-generated code: the decisions in the traces of MetaSchedule's design-space generator."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from compiler.tvm_backend import codegen, sketches, tensor_programs
from compiler.tvm_backend.program import TvmProgram, parameters
from compiler.tvm_backend.sketches import Category
from compiler.tvm_backend.tiling import TiledBlock, Tiling
from compiler.workloads.schedule import Decision, Program, Schedule, ScheduleSpace
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from tvm import tirx

BACKEND = "tvm"


class PrimFuncSpace(ScheduleSpace):
    """The schedules of a PrimFunc of static shape on float32 data, whose last parameter is its output.

    ``tile_<axis>`` lists the sizes of the loops that an axis is split into, outermost first. The name is
    ``<block>.tile_<axis>`` if blocks share the names of axes. ``unroll`` is the maximum number of unrolled steps of a
    function that reuses none of its inputs. ``sketch`` selects a sketch if TVM generates several. Decisions that the
    sketch does not have must keep their first choice, so that no program has two schedules.

    A :class:`TvmSpace` sets ``self.workload``; a PrimFunc needs no workload.
    """

    backend = BACKEND
    # Whether constants are evicted from the caches before each timed run, because those of a network are cold.
    cold_constants = False

    def __init__(self, prim_func: tirx.PrimFunc, target: Target) -> None:
        """
        Raises:
            ValueError: a parameter has more elements than TVM's 32-bit indices can address.
        """
        self.target = target
        self._parameters = parameters(prim_func)
        for parameter in self._parameters:
            if prod(parameter.shape) >= 1 << 31:
                raise ValueError(
                    f"{parameter.name} {parameter.shape} has more elements than 32-bit indices can address"
                )
        self._module = sketches.as_module(prim_func)
        self._sketches = sketches.generate(self._module, codegen.tvm_target(target), target.num_cores, target.lanes)
        sites = {site.name: site for sketch in self._sketches for site in sketch.sites}
        tilings = [site for site in sites.values() if isinstance(site, Tiling)]
        vectorized = dict.fromkeys(t.block for t in tilings if t.vector)
        self._blocks = [TiledBlock([t for t in tilings if t.block == name], target) for name in vectorized]
        choices = {t.name: t.tiles() for t in tilings}
        choices |= {site.name: site.candidates for site in sites.values() if isinstance(site, Category)}
        for block in self._blocks:
            choices |= block.choices
        if len(self._sketches) > 1:
            choices = {"sketch": tuple(range(len(self._sketches))), **choices}
        self.decisions = tuple(Decision(name, options) for name, options in choices.items())
        self._allowed = {name: frozenset(options) for name, options in choices.items()}
        first = {name: options[0] for name, options in choices.items() if name != "sketch"}
        self._idle = [
            {name: choice for name, choice in first.items() if name not in {site.name for site in sketch.sites}}
            for sketch in self._sketches
        ]

    def is_legal(self, schedule: Schedule) -> bool:
        values = schedule.values
        if schedule.backend != BACKEND or values.keys() != self._allowed.keys():
            return False
        if not all(values[name] in allowed for name, allowed in self._allowed.items()):
            return False
        idle = self._idle[self._sketch_index(schedule)]
        return all(values[name] == choice for name, choice in idle.items()) and all(
            block.is_legal(values) for block in self._blocks
        )

    def default(self) -> Schedule:
        """Returns the first choice of every decision, except that blocks are tiled for registers and caches."""
        values = {decision.name: decision.choices[0] for decision in self.decisions}
        for block in self._blocks:
            values |= block.default()
        return Schedule(BACKEND, values)

    def build(self, schedule: Schedule) -> Program:
        self.choices(schedule)
        if not self.is_legal(schedule):
            raise ValueError(f"schedule not legal for this function on {self.target.isa}: {schedule}")
        applied = self._sketches[self._sketch_index(schedule)].apply(self._module, schedule.values)
        compiled = codegen.compile_schedule(applied, self.target)
        return TvmProgram(compiled, self._parameters, self.target.num_cores, self.cold_constants)

    def _sketch_index(self, schedule: Schedule) -> int:
        return int(schedule.values.get("sketch", 0))  # type: ignore[arg-type]  # its choices are numbers


class TvmSpace(PrimFuncSpace):
    """The schedules of TVM-generated code for a workload."""

    def __init__(self, workload: Workload, target: Target) -> None:
        super().__init__(tensor_programs.prim_func(workload, target), target)
        self.workload = workload
        self.cold_constants = workload.operator.cold_weights  # as for our own kernels
