"""Third step of lowering: puts calls of kernels into the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from compiler.lowering.choose import Plan
from compiler.lowering.recognize import Match
from compiler.workloads.layer import DOMAIN, WITHOUT_KERNELS
from compiler.workloads.precision import BFLOAT16
from graph_passes.patterns.activations import ACTIVATIONS
from graph_passes.patterns.layers import call_function, function
from graph_passes.subgraphs import BRANCHES, equal_branches, with_branches
from graph_passes.values import graph_of, is_op, new_node, producer, supplant


def rewrite(model: ir.Model, matches: Sequence[Match], plan: Plan) -> None:
    """Replaces the matched nodes of the model's main graph and of its branches by calls of kernels.

    A call is a node of the domain ``loopwright.kernels`` whose attribute "place" is the index of its layer in the plan.
    An If with calls in its branches keeps copies of the branches without them, because ONNX Runtime may have to run it.
    """
    inside = {match.nodes[-1].graph for match in matches}
    for node in model.graph:
        if any(graph in inside for branch in equal_branches(node) for graph in with_branches(branch)):
            _keep_branches(node)
    # Last match first: replacing a node updates the inputs of calls that are already in the graph, but not those of
    # matches to come. Branches come after the main graph, whose values they read.
    for match, place in reversed(list(zip(matches, plan.places, strict=True))):
        _put_call(model, match, place, plan.layers[place].output_dtypes[0])
    for graph in with_branches(model.graph):
        _drop_transposes(graph)


def _keep_branches(node: ir.Node) -> None:
    """Adds copies of the branches of an If to its attributes."""
    for name in BRANCHES:
        copy = node.attributes[name].as_graph().clone(allow_outer_scope_values=True)
        node.attributes.add(ir.AttrGraph(name + WITHOUT_KERNELS, copy))


def _put_call(model: ir.Model, match: Match, place: int, dtype: str) -> None:
    """Puts in the call, and the transposition, the activation and the conversion to integers that follow it."""
    call, node, shape = match.call, match.nodes[-1], match.output_shape
    output = match.outputs[0]
    new = [
        new_node(
            call.op,
            call.inputs,
            {"place": place},
            like=output,
            name=node.name,
            domain=DOMAIN,
            shape=shape,
            outputs=len(call.outputs),
        )
    ]
    if dtype == BFLOAT16:
        new[-1].outputs[0].type = ir.TensorType(ir.DataType.BFLOAT16)
    if call.output_perm is not None:
        perm = call.output_perm
        transposed = [shape[axis] for axis in perm]
        new.append(new_node("Transpose", new[-1].outputs, {"perm": list(perm)}, like=output, shape=transposed))
    if call.activation is not None:
        name, numbers = call.activation
        if call.converted_by:
            new[-1].outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        new.append(_activation(model, new[-1].outputs[0], name, numbers))
    if call.converted_by:
        new.append(new_node("QuantizeLinear", [new[-1].outputs[0], *call.converted_by], like=output, shape=shape))
    model.opset_imports.setdefault(DOMAIN, 1)
    supplant(match.nodes, new, call.outputs)


def _activation(model: ir.Model, x: ir.Value, name: str, numbers: Mapping[str, float]) -> ir.Node:
    body = ACTIVATIONS[name].body.replace("@", "@activation_")
    callee = function(f"activation_{name}", list(numbers), ["x"], [body], model.opset_imports[""])
    node = call_function(model, callee, [x], [ir.AttrFloat32(key, value) for key, value in numbers.items()])
    node.outputs[0].type, node.outputs[0].shape = x.type, x.shape
    return node


def _drop_transposes(graph: ir.Graph) -> None:
    """Removes pairs of transpositions that undo each other, and transpositions without uses."""
    for node in list(graph):
        before = producer(node.inputs[0]) if is_op(node, "Transpose") else None
        if before is None or not is_op(before, "Transpose") or node.outputs[0].is_graph_output():
            continue
        first, second = before.attributes.get_ints("perm", ()), node.attributes.get_ints("perm", ())
        source = before.inputs[0]
        if source is not None and first and second and [first[axis] for axis in second] == list(range(len(first))):
            ir.convenience.replace_all_uses_with(node.outputs[0], source)
    for node in reversed(list(graph)):
        if is_op(node, "Transpose") and not any(y.uses() or y.is_graph_output() for y in node.outputs):
            graph_of(node).remove(node, safe=True)
