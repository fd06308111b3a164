"""Access strides of a block's loads and stores along each loop around it, which decide the order of the loops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import gcd, isqrt, prod
from typing import Any

import tvm_ffi
from tvm import ir, s_tir, sym, tirx

from compiler.tvm_backend.vector_math import operator_name

# Attribute of a function: a typical value of each symbolic size by name.
TYPICAL = "loopwright.typical_sizes"
# The comparisons that TVM emits for padding and concatenation.
_COMPARISONS = (tirx.LT, tirx.GE, tirx.LE, tirx.GT)
_DIVISIONS = (tirx.FloorDiv, tirx.FloorMod)

MOST_ELEMENTS = 2**31 - 1  # that indices of 32 bits count
# Calls that cost no more than other operations.
CHEAP_CALLS = frozenset({"tirx.if_then_else"})

_realize = tvm_ffi.get_global_func("s_tir.schedule.GetSBlockRealize")


class Unsupported(Exception):
    """The rules do not support a block. Not an error: the block gets a simpler schedule."""


@dataclass(frozen=True)
class Loop:
    """A loop around a block.

    Attributes:
        rv: the schedule's variable.
        extent: number of iterations; a typical one if it depends on a symbolic size.
        multiple: a divisor of the number of iterations that is known now; ``extent`` if it is constant.
        reduction: whether the block reduces over it.
        store: stride of the store in elements from one iteration to the next, None if it varies.
        loads: the same for each load, except loads of the block's own result.
        run: length of the runs of iterations that compute the same expression, less than ``extent`` in padding and
            concatenation.
        period: a divisor of ``multiple``, after whose multiples an access jumps, as in a reshaped tensor; 0 if none
            does.
        rows: of loops that were merged, the number of iterations of each one's inner loops; empty for others.
    """

    rv: Any
    extent: int
    multiple: int
    reduction: bool
    store: int | None
    loads: tuple[int | None, ...]
    run: int
    period: int = 0
    rows: tuple[int, ...] = ()

    @property
    def positional(self) -> bool:
        return self.run < self.extent

    @property
    def streams(self) -> bool:
        """Whether the loop can be vectorized: every access is contiguous or invariant, and the store is contiguous."""
        return self.store == 1 and all(stride in (0, 1) for stride in self.loads)

    @property
    def gathers(self) -> bool:
        """Whether a reduction over this loop can accumulate in vector lanes."""
        return self.reduction and self.store == 0 and 1 in self.loads and all(s in (0, 1) for s in self.loads)


def loops_around(schedule: s_tir.Schedule, block: Any) -> list[Loop]:
    """Returns the loops of a block, outermost first.

    Raises:
        Unsupported: an extent depends on data, or the block does not store exactly one buffer.
    """
    realize = _realize(schedule, block)
    body = realize.block
    rvs = schedule.get_loops(block)
    nodes: list[Any] = [schedule.get(rv) for rv in rvs]
    extents = [_extent(schedule, node) for node in nodes]
    at = {axis.var: value for axis, value in zip(body.iter_vars, realize.iter_values, strict=True)}
    reduced = [v for a, v in zip(body.iter_vars, realize.iter_values, strict=True) if a.iter_type != a.DataPar]
    analyzer = sym.Analyzer()
    for node in nodes:
        analyzer.bind(node.loop_var, ir.Range.from_min_extent(node.min, node.extent))
    stores, loads = _accesses(body)
    if len({store.buffer for store in stores}) != 1:
        raise Unsupported("a block does not store exactly one buffer")
    result = stores[0].buffer
    offsets = [
        _substitute(_offset(buffer, indices), at)
        for buffer, indices in [(result, stores[0].indices)]
        + [(load.source, load.indices) for load in loads if not load.source.same_as(result)]
    ]

    offsets = [analyzer.simplify(offset) for offset in offsets]
    quotients = [_quotients(offset) for offset in offsets]
    values = [_substitute(_without_loads(store.value), at) for store in stores]

    def stride(offset: Any, variable: tirx.Var) -> int | None:
        step = analyzer.simplify(_substitute(offset, {variable: variable + 1}) - offset)
        return int(step) if isinstance(step, tirx.IntImm) else None

    answer = []
    for rv, node, count in zip(rvs, nodes, extents, strict=True):
        store, *others = (stride(offset, node.loop_var) for offset in offsets)
        reduction = any(uses(value, node.loop_var) for value in reduced)
        multiple = int(node.extent) if isinstance(node.extent, tirx.IntImm) else _multiple(node.extent)
        position = gcd(*(_run(value, node.loop_var) for value in values))
        run = gcd(multiple, position) if position else count
        period = gcd(*(_period(found, node.loop_var, stride) for found in quotients))
        period = period if period and multiple % period == 0 else 0
        answer.append(Loop(rv, count, multiple, reduction, store, tuple(others), run, period))
    return answer


def extent(schedule: s_tir.Schedule, loop: Any) -> int:
    """Returns the extent of a loop, as in :class:`Loop`.

    Raises:
        Unsupported: the extent depends on data.
    """
    return _extent(schedule, schedule.get(loop))


def is_tensor(parameter: Any) -> bool:
    """Returns whether a parameter of a function is a tensor and not a symbolic size."""
    return hasattr(parameter, "shape")


def static_sizes(shape: Sequence[Any]) -> tuple[int, ...] | None:
    """Returns the sizes of a shape; None if one is symbolic."""
    return tuple(int(size) for size in shape) if all(isinstance(size, (int, tirx.IntImm)) for size in shape) else None


def is_constant(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether no loop around a block depends on a symbolic size."""
    loops: list[Any] = [schedule.get(loop) for loop in schedule.get_loops(block)]
    return all(isinstance(loop.extent, tirx.IntImm) for loop in loops)


def runs(schedule: s_tir.Schedule, block: Any) -> int:
    """Returns the number of executions of a block.

    Raises:
        Unsupported: an extent depends on data.
    """
    return prod(extent(schedule, loop) for loop in schedule.get_loops(block))


def predicate_uses(schedule: s_tir.Schedule, block: Any, loop: Any) -> bool:
    """Whether the block's predicate depends on a loop, so that some iterations skip the block."""
    node: Any = schedule.get(loop)
    return uses(_realize(schedule, block).predicate, node.loop_var)


def is_guarded(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether some iterations skip the block, as after a split that does not divide a loop."""
    predicate: Any = _realize(schedule, block).predicate
    return not (isinstance(predicate, tirx.IntImm) and predicate.value)


def iterations(loops: Sequence[Loop]) -> int:
    return prod(loop.extent for loop in loops)


def uses(expression: Any, variable: tirx.Var) -> bool:
    found = []
    tvm_ffi.structural_walk(expression, (tirx.Var, lambda v: found.append(v) if v.same_as(variable) else None))
    return bool(found)


def calls(statement: Any) -> set[str]:
    """Returns the names of all operators that a statement calls."""
    names: set[str] = set()

    tvm_ffi.structural_walk(statement, (ir.Call, lambda call: names.add(operator_name(call))))
    return names


def loads_one_of_several(schedule: s_tir.Schedule, block: Any) -> bool:
    """Whether a condition decides where a block loads another one's result: a tensor is concatenated with itself.

    TVM then takes only one of the places for the region that the block reads.
    """
    statement: Any = schedule.get(block)
    producers: list[Any] = [schedule.get(producer) for producer in schedule.get_producers(block)]
    results = {store.buffer.name for producer in producers for store in _accesses(producer)[0]}
    places = {(load.source.name, str(load)) for load in _accesses(statement)[1] if load.source.name in results}
    several = len(places) > len({name for name, _place in places})
    return several and "prim.if_then_else" in calls(statement.body)


def divisors(n: int) -> list[int]:
    """Returns all divisors in ascending order."""
    small = [d for d in range(1, isqrt(n) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d < n]


def _extent(schedule: s_tir.Schedule, loop: Any) -> int:
    if isinstance(loop.extent, tirx.IntImm):
        return int(loop.extent)
    main: Any = schedule.mod["main"]
    typical = (main.attrs or {}).get(TYPICAL, {})

    def value(variable: tirx.Var) -> Any:
        return tirx.IntImm("int64", typical[variable.name]) if variable.name in typical else variable

    found = sym.Analyzer().simplify(tvm_ffi.structural_map(loop.extent, (tirx.Var, value)))
    if not isinstance(found, tirx.IntImm):
        raise Unsupported("a loop's extent depends on data")
    return int(found)


def _multiple(extent: Any) -> int:
    """Returns the constant factor of a product."""
    if isinstance(extent, tirx.IntImm):
        return int(extent)
    return _multiple(extent.a) * _multiple(extent.b) if isinstance(extent, tirx.Mul) else 1


def _accesses(block: s_tir.SBlock) -> tuple[list[Any], list[Any]]:
    stores: list[Any] = []
    loads: list[Any] = []
    tvm_ffi.structural_walk(block.body, ((tirx.BufferStore, stores.append), (ir.TensorLoad, loads.append)))
    return stores, loads


def _without_loads(value: Any) -> Any:
    return tvm_ffi.structural_map(value, (ir.TensorLoad, lambda load: tirx.Var("loaded", load.ty)))


def _run(value: Any, variable: tirx.Var) -> int:
    """Returns the length of runs of iterations for which all comparisons have the same result.

    0 if there are no comparisons, 1 if the position matters in other ways than comparisons with constants.
    """
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


def _quotients(offset: Any) -> list[Any]:
    """Returns the divisions in an offset, and their remainders."""
    found: list[Any] = []
    tvm_ffi.structural_walk(offset, (_DIVISIONS, found.append))
    return found


def _period(quotients: Sequence[Any], variable: tirx.Var, stride: Callable[[Any, tirx.Var], int | None]) -> int:
    """Returns after how many iterations of a loop a quotient changes: the divisor over the dividend's stride.

    0 if there are no quotients; 1 if it is not known.
    """
    found = 0
    for quotient in quotients:
        step = stride(quotient.a, variable)
        if step == 0:
            continue
        divisor = int(quotient.b) if isinstance(quotient.b, tirx.IntImm) else 1
        if step is None or step < 0 or divisor % step:
            return 1
        found = gcd(found, divisor // step)
    return found


def _offset(buffer: Any, indices: Sequence[Any]) -> Any:
    offset: Any = tirx.const(0, "int64")
    for index, size in zip(indices, buffer.shape, strict=True):
        offset = offset * size + index
    return offset


def _substitute(expression: Any, values: dict[tirx.Var, Any]) -> Any:
    def value(variable: tirx.Var) -> Any:
        return next((v for k, v in values.items() if k.same_as(variable)), variable)

    return tvm_ffi.structural_map(expression, (tirx.Var, value))
