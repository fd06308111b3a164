"""How far a block's loads and stores move with each of the loops around it: what decides how the loops are ordered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, isqrt, prod
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, sym, tirx

from compiler.tvm_backend.vector_math import operator_name

# As TVM writes them for borders and concatenations: not up to a number, but below it.
_COMPARISONS = (tirx.LT, tirx.GE, tirx.LE, tirx.GT)

_realize = tvm_ffi.get_global_func("s_tir.schedule.GetSBlockRealize")


class Unsupported(Exception):
    """A block is none of those that the generic schedules are about. Not an error: it keeps a simpler schedule."""


@dataclass(frozen=True)
class Loop:
    """A loop around a block.

    ``store`` and ``loads`` are strides in elements from one iteration to the next, ``None`` where they are not the same
    for all iterations; ``loads`` has one for each load but those of the block's own result. ``run`` is the number of
    iterations, from the first on, in steps of which the same is computed: less than ``extent`` for a border or a
    concatenation, where the position decides about more than the element.
    """

    rv: Any
    extent: int
    reduction: bool
    store: int | None
    loads: tuple[int | None, ...]
    run: int

    @property
    def positional(self) -> bool:
        return self.run < self.extent

    @property
    def streams(self) -> bool:
        """Whether its iterations fit the lanes of vectors: in all accesses, consecutive elements or the same one."""
        return self.store == 1 and all(stride in (0, 1) for stride in self.loads)

    @property
    def gathers(self) -> bool:
        """Whether the sum over this loop's iterations can be taken in the lanes of vectors."""
        return self.reduction and self.store == 0 and 1 in self.loads and all(s in (0, 1) for s in self.loads)


def loops_around(schedule: s_tir.Schedule, block: Any) -> list[Loop]:
    """A block's loops from the outside in.

    Raises:
        Unsupported: an extent is not constant, or the block stores more than one value.
    """
    realize = _realize(schedule, block)
    body = realize.block
    rvs = schedule.get_loops(block)
    nodes: list[Any] = [schedule.get(rv) for rv in rvs]
    extents = [_constant_extent(node) for node in nodes]
    at = {axis.var: value for axis, value in zip(body.iter_vars, realize.iter_values, strict=True)}
    reduced = [v for a, v in zip(body.iter_vars, realize.iter_values, strict=True) if a.iter_type != a.DataPar]
    analyzer = sym.Analyzer()
    for node in nodes:
        analyzer.bind(node.loop_var, ir.Range.from_min_extent(node.min, node.extent))
    stores, loads = _accesses(body)
    if len({store.buffer for store in stores}) != 1:
        raise Unsupported("a block stores more than one value, or none")
    result = stores[0].buffer
    offsets = [
        _substitute(_offset(buffer, indices), at)
        for buffer, indices in [(result, stores[0].indices)]
        + [(load.source, load.indices) for load in loads if not load.source.same_as(result)]
    ]

    values = [_substitute(_without_loads(store.value), at) for store in stores]

    def stride(offset: Any, variable: tirx.Var) -> int | None:
        step = analyzer.simplify(_substitute(offset, {variable: variable + 1}) - offset)
        return int(step) if isinstance(step, tirx.IntImm) else None

    answer = []
    for rv, node, count in zip(rvs, nodes, extents, strict=True):
        store, *others = (stride(offset, node.loop_var) for offset in offsets)
        reduction = any(uses(value, node.loop_var) for value in reduced)
        run = gcd(count, *(_run(value, node.loop_var) for value in values))
        answer.append(Loop(rv, count, reduction, store, tuple(others), run))
    return answer


def extent(schedule: s_tir.Schedule, loop: Any) -> int:
    """
    Raises:
        Unsupported: it is not constant.
    """
    return _constant_extent(schedule.get(loop))


def runs(schedule: s_tir.Schedule, block: Any) -> int:
    """How often a block is run in all.

    Raises:
        Unsupported: an extent is not constant.
    """
    return prod(extent(schedule, loop) for loop in schedule.get_loops(block))


def predicate_uses(schedule: s_tir.Schedule, block: Any, loop: Any) -> bool:
    """Whether a loop has iterations in which the block is not run."""
    node: Any = schedule.get(loop)
    return uses(_realize(schedule, block).predicate, node.loop_var)


def is_guarded(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether some iterations of a block's loops do not run it: those by which a split went beyond the end."""
    predicate: Any = _realize(schedule, block).predicate
    return not (isinstance(predicate, tirx.IntImm) and predicate.value)


def iterations(loops: Sequence[Loop]) -> int:
    return prod(loop.extent for loop in loops)


def uses(expression: Any, variable: tirx.Var) -> bool:
    found = []
    tvm_ffi.structural_walk(expression, (tirx.Var, lambda v: found.append(v) if v.same_as(variable) else None))
    return bool(found)


def calls(statement: Any) -> set[str]:
    """The names of all operators that are called in a statement."""
    names: set[str] = set()

    tvm_ffi.structural_walk(statement, (ir.Call, lambda call: names.add(operator_name(call))))
    return names


def divisors(n: int) -> list[int]:
    """In ascending order."""
    small = [d for d in range(1, isqrt(n) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d < n]


def _constant_extent(loop: Any) -> int:
    if not isinstance(loop.extent, tirx.IntImm):
        raise Unsupported("a loop's extent is not constant")
    return int(loop.extent)


def _accesses(block: s_tir.SBlock) -> tuple[list[Any], list[Any]]:
    stores: list[Any] = []
    loads: list[Any] = []
    tvm_ffi.structural_walk(block.body, ((tirx.BufferStore, stores.append), (ir.TensorLoad, loads.append)))
    return stores, loads


def _without_loads(value: Any) -> Any:
    return tvm_ffi.structural_map(value, (ir.TensorLoad, lambda load: tirx.Var("loaded", load.ty)))


def _run(value: Any, variable: tirx.Var) -> int:
    """The iterations in steps of which all comparisons come out the same; 0 if there are none, 1 if more than
    comparisons with constants depends on the position."""
    bounds: list[int] = []

    def remember(comparison: Any) -> Any:
        operands = [comparison.a, comparison.b]
        constants = [int(operand) for operand in operands if isinstance(operand, tirx.IntImm)]
        if not (constants and any(operand.same_as(variable) for operand in operands)):
            return comparison
        bounds.extend(constants)
        return tirx.Var("compared", "bool")

    value = tvm_ffi.structural_map(value, (_COMPARISONS, remember))
    return 1 if uses(value, variable) else gcd(*bounds)


def _offset(buffer: Any, indices: Sequence[Any]) -> Any:
    offset: Any = tirx.const(0, "int64")
    for index, size in zip(indices, buffer.shape, strict=True):
        offset = offset * size + index
    return offset


def _substitute(expression: Any, values: dict[tirx.Var, Any]) -> Any:
    def value(variable: tirx.Var) -> Any:
        return next((v for k, v in values.items() if k.same_as(variable)), variable)

    return tvm_ffi.structural_map(expression, (tirx.Var, value))
