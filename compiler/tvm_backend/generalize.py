"""Makes one module with symbolic sizes of the modules of a model at several sizes.

The modules must be equal except for integers and constants. An integer that differs becomes the expression of the sizes
that has these values. A constant that differs must be a leading part of the constant at the largest sizes, as in tables
of positions and in masks, and becomes this part.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tvm
from tvm import ir, relax, s_tir, sym, te, tirx

from compiler.sizes.differing import Witnesses
from compiler.sizes.expression import Expression, Factor
from compiler.tvm_backend.generic_access import uses
from compiler.tvm_backend.object_graph import Graph, Node, appended, in_order, object_of, plain_fields, relinked

_TYPE = "int64"
_INTEGER = "ir.IntImm"
_NUMBERS = (_INTEGER, "ir.FloatImm")
_UNIT = 2.0**-23  # of float32, to which a reciprocal may be rounded
_OF_CALL = "_call_"  # between the name of a function and the index of its call
_CALL = "loopwright.call"  # attribute that keeps equal functions apart
_CONSTANT = "constant_"  # the name of a free variable in place of a constant, before its index


def generalized(modules: Sequence[tuple[tvm.IRModule, list[np.ndarray]]], witnesses: Witnesses) -> tvm.IRModule:
    """Returns a module for all sizes.

    Args:
        modules: of the model at each point of the witnesses, as :func:`without_constants` returns them.

    Raises:
        DifferentPrograms: the modules differ in another way.
    """
    module = _Merge([Graph(module) for module, _constants in modules], witnesses).module()
    if len({len(found) for _module, found in modules}) > 1:
        raise witnesses.error("the number of constants")
    variables = {
        size.name: variable for size in witnesses.sizes if (variable := _symbol(module, size.name)) is not None
    }
    constants = [
        _constant(arrays, variables, witnesses) for arrays in zip(*(found for _, found in modules), strict=True)
    ]
    completion = _Completion(module, constants, list(variables.values()))
    main = completion.visit_expr(module["main"])
    complete = _with_main(completion.builder_.get(), main)
    return relax.transform.DeadCodeElimination()(complete)  # functions in whose place others are called


def _with_main(module: tvm.IRModule, main: Any) -> tvm.IRModule:
    module = module.clone()
    module.update_func(module.get_global_var("main"), main)
    return module


def _symbol(module: tvm.IRModule, name: str) -> Any:
    """Returns the variable of a size, which a shape of an input of ``main`` defines."""
    found = relax.analysis.defined_symbolic_vars(module["main"])
    return next((variable for variable in found if variable.name == name), None)


def without_constants(module: tvm.IRModule) -> tuple[tvm.IRModule, list[np.ndarray]]:
    """Returns a module whose ``main`` has free variables in place of constants, and the elements of these.

    Each call has a separate function: functions that are equal at some sizes are one in the given module.
    """
    separation = _Separation(module)
    main = separation.visit_expr(module["main"])
    separated = _with_main(separation.builder_.get(), main)
    return relax.transform.DeadCodeElimination()(separated), separation.arrays


@relax.expr_functor.mutator
class _Separation(relax.PyExprMutator):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.arrays: list[np.ndarray] = []
        self._module, self._calls = module, 0

    def visit_generic_const_(self, op: Any) -> Any:
        self.arrays.append(op.value.numpy())
        return relax.Var(f"{_CONSTANT}{len(self.arrays) - 1}", op.ty)

    def visit_call_(self, op: Any) -> Any:
        call: Any = super().visit_call_(op)
        if call.op != ir.Op.get("relax.call_tir"):
            return call
        self._calls += 1
        function = self._module[call.args[0]].with_attr(_CALL, self._calls)
        name = f"{call.args[0].name_hint.rstrip(string.digits)}{_OF_CALL}{self._calls}"
        called = self.builder_.add_func(function, name)
        return ir.Call(call.op, [called, *call.args[1:]], call.attrs, call.ty_args)


class _Number(NamedTuple):
    """A number that depends on sizes: an expression, or one divided by it."""

    expression: Expression
    dtype: str
    divides: bool

    def expr(self, variables: Mapping[str, Any]) -> Any:
        value = _expr(self.expression, variables)
        if self.dtype != _TYPE:
            value = tirx.Cast(self.dtype, value)
        return tirx.div(tirx.FloatImm(self.dtype, 1.0), value) if self.divides else value


class _Merge:
    """Merges the graphs of nodes of several modules."""

    def __init__(self, graphs: Sequence[Graph], witnesses: Witnesses) -> None:
        self._graphs, self._witnesses = graphs, witnesses
        self._nodes: list[Node] = []
        self._places: dict[tuple[int, ...], int] = {}  # of the merged node of nodes, one in each graph
        self._expressions: dict[int, _Number] = {}  # by place

    def module(self) -> tvm.IRModule:
        root = self._merged(tuple(graph.root for graph in self._graphs))
        variables = {size.name: tirx.Var(size.name, _TYPE) for size in self._witnesses.sizes}
        exprs: Any = [number.expr(variables) for number in self._expressions.values()]
        added = Graph(exprs)
        start = appended(self._nodes, added.nodes)
        roots = [start + index for index in added.nodes[added.root]["data"]]
        place = dict(zip(self._expressions, roots, strict=True))
        nodes = [relinked(node, lambda index: place.get(index, index)) for node in self._nodes]
        return object_of(*in_order(nodes, root))

    def _merged(self, start: tuple[int, ...]) -> int:
        """Merges the nodes at these indices and all that they refer to; returns the place of the merged node."""
        pending = [start]
        self._reserve(start)
        while pending:
            pending += self._merge(pending.pop())
        return self._places[start]

    def _reserve(self, indices: tuple[int, ...]) -> int:
        if indices not in self._places:
            self._places[indices] = len(self._nodes)
            self._nodes.append({"type": "None"})
        return self._places[indices]

    def _merge(self, indices: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Merges nodes without what they refer to, and returns what is not merged yet."""
        place = self._places[indices]
        nodes = [graph.nodes[index] for graph, index in zip(self._graphs, indices, strict=True)]
        kind = nodes[0]["type"]
        data: list[Any] = [node.get("data") for node in nodes]
        if any(node["type"] != kind for node in nodes):
            raise self._witnesses.error("the operations of its program")
        if kind in _NUMBERS and self._is_expression(place, kind, data):
            return []
        missing: list[tuple[int, ...]] = []

        def reserved(parts: tuple[int, ...]) -> int:
            if parts not in self._places:
                missing.append(parts)
            return self._reserve(parts)

        first = data[0]
        if isinstance(first, dict):
            plain = plain_fields(kind)
            if any(repr(entry[name]) != repr(first[name]) for entry in data for name in plain & first.keys()):
                raise self._witnesses.error("the operations of its program")
            self._nodes[place] = nodes[0] | {
                "data": {
                    name: value if name in plain else reserved(tuple(entry[name] for entry in data))
                    for name, value in first.items()
                }
            }
        elif isinstance(first, list):
            if any(len(entry) != len(first) for entry in data):
                raise self._witnesses.error("the number of its operations or dimensions")
            if kind == "ffi.Map":
                data = [self._sorted(graph, entry) for graph, entry in zip(self._graphs, data, strict=True)]
            self._nodes[place] = nodes[0] | {"data": [reserved(parts) for parts in zip(*data, strict=True)]}
        else:
            if any(entry != first for entry in data):
                raise self._witnesses.error(f"the value {first!r} in its program")
            self._nodes[place] = nodes[0]
        return missing

    def _is_expression(self, place: int, kind: str, data: Sequence[Any]) -> bool:
        """Notes the expression of a number that differs. A float may be a size, or one divided by a size."""
        values = [entry["value"] for entry in data]
        if kind == _INTEGER:
            values = [graph.nodes[value]["data"] for graph, value in zip(self._graphs, values, strict=True)]
        if len(set(map(repr, values))) == 1:  # NaN is equal to itself here, and -0.0 differs from 0.0
            return False
        if not all(map(math.isfinite, values)):
            raise self._witnesses.error("a number in its program")
        divides = not all(float(value).is_integer() for value in values)
        sizes = [round(1 / value) if divides and value else round(value) for value in values]
        if divides and not all(
            size and math.isclose(1 / size, v, rel_tol=_UNIT) for size, v in zip(sizes, values, strict=True)
        ):
            raise self._witnesses.error("a number in its program")
        found = self._witnesses.expression(sizes, "a size in its program")
        if not isinstance(found, Expression):
            return False
        dtype = self._graphs[0].nodes[data[0]["ty"]]["data"]["dtype"]
        self._expressions[place] = _Number(found, dtype, divides)
        return True

    @staticmethod
    def _sorted(graph: Graph, entries: Sequence[int]) -> list[int]:
        """Returns keys and values in the order of the keys' names; a map of objects has no order."""

        def name(key: int) -> str:
            node = graph.nodes[key]
            return str(graph.nodes[node["data"]["name_hint"]] if node["type"] == "ir.GlobalVar" else node.get("data"))

        pairs = sorted(zip(entries[::2], entries[1::2], strict=True), key=lambda pair: name(pair[0]))
        return [index for pair in pairs for index in pair]


def _expr(expression: Expression, variables: Mapping[str, Any]) -> Any:
    total: Any = tirx.IntImm(_TYPE, 0)
    for coefficient, factors in expression.terms:
        term: Any = tirx.IntImm(_TYPE, 1)
        for factor in factors:
            term = term * _factor(factor, variables)
        total = total + term * coefficient
    total = total + expression.constant
    # TVM compares sizes by their structure, and writes all others in this form.
    return sym.Analyzer().simplify(tirx.floordiv(total, tirx.IntImm(_TYPE, expression.divisor)))


def _constant(
    arrays: Sequence[np.ndarray], variables: Mapping[str, Any], witnesses: Witnesses
) -> Callable[[relax.BlockBuilder], Any]:
    """Returns what emits a constant, given its elements at each point.

    Raises:
        DifferentPrograms: it is not a leading part of the last one.
    """
    whole = arrays[-1]
    if all(array is whole or (array.shape == whole.shape and array.tobytes() == whole.tobytes()) for array in arrays):
        return lambda _builder: relax.const(whole, whole.dtype.name)
    shapes = [
        witnesses.expression(sizes, "a constant's size") for sizes in zip(*(a.shape for a in arrays), strict=True)
    ]
    sizes = [_expr(size, variables) if isinstance(size, Expression) else size for size in shapes]
    if whole.size and witnesses.is_leading(arrays):
        return lambda builder: builder.emit_te(_leading, relax.const(whole, whole.dtype.name), sizes)
    if whole.dtype.kind in "iu" and len({array.shape for array in arrays}) == 1:
        columns = zip(*(array.reshape(-1).tolist() for array in arrays), strict=True)
        numbers = [witnesses.expression(column, "a number in a constant") for column in columns]
        exprs = [_expr(n, variables) if isinstance(n, Expression) else tirx.IntImm(_TYPE, n) for n in numbers]
        return lambda builder: builder.emit_te(_listed, exprs, whole.shape, whole.dtype.name)
    raise witnesses.error("a constant")


def _leading(x: Any, sizes: Sequence[Any]) -> Any:
    return te.compute(sizes, lambda *indices: x(*indices), name="leading")


def _listed(numbers: Sequence[Any], shape: Sequence[int], dtype: str) -> Any:
    """An array of a few numbers."""

    def element(*indices: Any) -> Any:
        place: Any = tirx.IntImm(_TYPE, 0)
        for index, size in zip(indices, shape, strict=True):
            place = place * size + index
        value = numbers[-1]
        for at in reversed(range(len(numbers) - 1)):
            value = tirx.Select(place == at, numbers[at], value)
        return value.astype(dtype)

    return te.compute(shape, element, name="listed")


def _factor(factor: Factor, variables: Mapping[str, Any]) -> Any:
    if isinstance(factor, str):
        return variables[factor]
    sum_of = variables[factor.size] + tirx.IntImm(_TYPE, factor.offset)
    return tirx.floordiv(sum_of, tirx.IntImm(_TYPE, factor.divisor))


@relax.expr_functor.mutator
class _Completion(relax.PyExprMutator):
    """Puts constants back, and passes sizes to generated functions that cannot read them from the shapes of tensors."""

    def __init__(
        self, module: tvm.IRModule, constants: Sequence[Callable[[relax.BlockBuilder], Any]], variables: Sequence[Any]
    ) -> None:
        super().__init__(module)
        self._module, self._constants, self._variables = module, constants, variables
        self._free = relax.analysis.free_vars(module["main"])
        self._functions: dict[str, tuple[Any, list[Any]]] = {}  # by name: what is called, and the sizes that are passed

    def visit_var_(self, op: Any) -> Any:
        if any(op.same_as(variable) for variable in self._free):
            return self._constants[int(op.name.removeprefix(_CONSTANT))](self.builder_)
        return super().visit_var_(op)

    def visit_call_(self, op: Any) -> Any:
        call: Any = super().visit_call_(op)
        if call.op != ir.Op.get("relax.call_tir"):
            return call
        name, arguments = call.args[0].name_hint, list(call.args[1])
        if name not in self._functions:
            function, sizes = _with_sizes(self._module[name], len(arguments), self._variables)
            called = self.builder_.add_func(function, name.rpartition(_OF_CALL)[0])  # merges equal ones
            self._functions[name] = called, sizes
        called, sizes = self._functions[name]
        written: Any = call.ty_args[0]
        several = list(written.fields) if hasattr(written, "fields") else written
        return relax.call_tir(called, relax.Tuple([*arguments, *sizes]), several)


def _with_sizes(function: Any, inputs: int, variables: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Returns a function with a parameter for each size that it uses and that is not a size of a parameter.

    These parameters follow the inputs.
    """
    bound = [size for parameter in function.params for size in parameter.ty.shape]
    missing = [
        variable
        for variable in variables
        if not any(variable.same_as(size) for size in bound) and _uses(function, variable)
    ]
    parameters = [*function.params[:inputs], *missing, *function.params[inputs:]]
    complete = tirx.PrimFunc(parameters, function.body, function.ret_type, function.attrs).without_attr(_CALL)
    return s_tir.renew_defs(complete), missing


def _uses(function: Any, variable: Any) -> bool:
    return any(uses(part, variable) for part in (function.body, *(parameter.ty for parameter in function.params)))
