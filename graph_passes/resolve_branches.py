"""Replaces an If by the branch that runs.

::

    If (constant) { then { y = Relu (x) } else { y = Neg (x) } }         becomes   y = Relu (x)
    If (c) { then { y = Squeeze <axis 0> (x) } else { y = Neg (x) } }    becomes   y = Neg (x)      for x of 2 x 3

Models that are published for several sizes of inputs choose by an input, such as the sampling rate. With shapes that
are numbers, often only one branch fits them: shape inference finds a contradiction in the other one, so a runtime
would report an error if it ran. The lookup of an index that is out of range reports it in place of the branch. A
condition may also follow from shapes alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node
from graph_passes.evaluate import evaluate
from graph_passes.fold_constants import FoldConstants, fold
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement, consistent, infer_shapes
from graph_passes.subgraphs import BRANCHES, splice
from graph_passes.values import is_op


@dataclass(frozen=True)
class ResolveBranches(Pass):
    name: ClassVar[str] = "resolve_branches"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        from onnx_ir.passes import common

        left: set[ir.Node] = set()
        while node := next((n for n in every_node(model) if is_op(n, "If") and n not in left), None):
            known = evaluate(node.inputs[0]) if node.inputs[0] is not None else None
            possible = [name for name in BRANCHES if known is None and _possible(node, name, model)]
            if known is not None:
                taken = BRANCHES[0 if known.reshape(-1)[0] else 1]
            elif len(possible) == 1:
                (taken,) = possible
                yield Remark(described(node), f"becomes its {taken}: the other one does not fit the shapes")
            else:
                left.add(node)
                yield Remark(described(node), "stays: its condition is not constant")
                continue
            new = Replacement(node)
            outputs = splice(node, node.attributes[taken].as_graph(), ())
            guard = None if known is not None else _guard(new, node, taken)
            new.replace(*(_guarded(new, output, guard) for output in outputs))
            common.NameFixPass()(model)
            infer_shapes(model)


def _guard(new: Replacement, node: ir.Node, taken: str) -> ir.Value:
    """Adds a condition that is always true, and an error if the other branch would run."""
    scalar = new.constant("scalar", np.zeros(0, np.int64))
    condition = new.op("Reshape", node.inputs[0], scalar)
    right = condition if taken == BRANCHES[0] else new.op("Not", condition)
    index = new.op("Cast", new.op("Not", right), to=int(ir.DataType.INT64))
    other = BRANCHES[1 - BRANCHES.index(taken)]
    why = f"{node.name or node.outputs[0].name}: its {other} does not fit the shapes of the inputs"
    return new.op("Gather", new.constant("valid", np.ones(1, np.bool_)), index, name=why, axis=0)


def _guarded(new: Replacement, output: ir.Value, guard: ir.Value | None) -> ir.Value:
    """Returns an output of the branch, which needs the guard."""
    if guard is None or not isinstance(output.type, ir.TensorType):
        return new.op("Identity", output)
    return new.op("Where", guard, output, output)


def _possible(node: ir.Node, branch: str, model: ir.Model) -> bool:
    """Returns whether shapes are consistent in a branch."""
    trial = _alone(node.attributes[branch].as_graph(), model)
    list(ResolveBranches().apply(trial))
    fold(trial, FoldConstants().largest)
    return consistent(trial)


def _alone(branch: ir.Graph, model: ir.Model) -> ir.Model:
    """Returns a branch as a model, whose inputs are the values that it reads from outside."""
    copy = branch.clone(allow_outer_scope_values=True)
    for outer in _outer(copy):
        value = ir.Value(name=outer.name, type=outer.type, shape=outer.shape, const_value=outer.const_value)
        outer_uses = [(use.node, use.idx) for use in outer.uses() if _inside(use.node, copy)]
        for user, index in outer_uses:
            user.replace_input_with(index, value)
        if outer.const_value is None:
            copy.inputs.append(value)
        else:
            copy.register_initializer(value)
    copy.opset_imports.update(model.opset_imports)
    functions = [function.clone() for function in model.functions.values()]
    return ir.Model(copy, ir_version=model.ir_version or 10, functions=functions)


def _outer(graph: ir.Graph) -> Sequence[ir.Value]:
    """Returns the values that a graph and its subgraphs read, but that belong to none of them."""
    graphs = [graph, *graph.subgraphs()]
    inner = {value for one in graphs for value in (*one.inputs, *one.initializers.values())}
    inner |= {output for one in graphs for node in one for output in node.outputs}
    read = {value: None for one in graphs for node in one for value in node.inputs if value is not None}
    return [value for value in read if value not in inner]


def _inside(node: ir.Node, graph: ir.Graph) -> bool:
    return node.graph is graph or any(node.graph is inner for inner in graph.subgraphs())
