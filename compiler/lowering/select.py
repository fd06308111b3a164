"""Puts a call of a kernel in the place of every node that one computes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from compiler.lowering import images, products, rows
from compiler.lowering.call import Call
from compiler.lowering.chains import chained
from compiler.lowering.chains import find as find_chains
from compiler.workloads.layer import DOMAIN, Layer
from compiler.workloads.records import Choice
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload
from graph_passes.base import DOMAIN as PASSES_DOMAIN
from graph_passes.patterns.activations import ACTIVATIONS
from graph_passes.patterns.layers import Layer as Fused
from graph_passes.patterns.layers import call_function, function
from graph_passes.values import graph_of, is_op, known_shape, new_node, producer, supplant

# By what a fused layer begins with.
FUSED: Mapping[str, Callable[[ir.Node], Call | None]] = {
    "Conv": products.conv2d,
    "Gemm": products.dense,
    "MatMul": products.dense,
}
# Functions of graph_passes, by name.
FUNCTIONS: Mapping[str, Callable[[ir.Node], Call | None]] = {
    "Attention": rows.attention,
    "Attention_mask": rows.attention,
    "Attention_mask_or_zero": rows.attention,
    "AveragePool_nhwc": images.average_pool,
    "GlobalAveragePool_nhwc": images.global_average_pool,
    "MaxPool_nhwc": images.max_pool,
}
# Standard operators.
OPERATORS: Mapping[str, Callable[[ir.Node], Call | None]] = {
    "LayerNormalization": rows.layer_norm,
    "ReduceMean": images.mean,
    "Softmax": rows.softmax,
}

# Waking a second thread costs about as long as a core takes for this many operations (2 µs); what takes not much
# longer stays on one.
_FLOPS_WORTH_A_THREAD = 400_000


@dataclass(frozen=True)
class Options:
    """How kernels are chosen.

    Attributes:
        schedules: what is known to be fast; None where nothing is.
        fast_algorithms: whether layers without a schedule may use Winograd's and Strassen's algorithms, which round more than
            a sum.
        chains: whether neighbouring convolutions may run as one kernel.
        of_model: what was chosen for a whole model, by the workloads of its layers in their order; it goes before
            ``schedules``, and decides on threads as well.
    """

    schedules: Callable[[Workload, Target], Schedule | None]
    fast_algorithms: bool = True
    chains: bool = True
    of_model: Callable[[Sequence[Workload], Target], Mapping[Workload, Choice]] = lambda _workloads, _target: {}


def select(model: ir.Model, target: Target, options: Options) -> list[Layer]:
    """Rewrites the model's main graph; the layers are those of its calls, by their attribute "place"."""
    chains = {chain[-1]: chain for chain in _chains(model.graph, target)} if options.chains else {}
    inner = {node for chain in chains.values() for node in chain[:-1]}
    layers: list[Layer] = []
    places: dict[Hashable, int] = {}  # of layers that are the same but for their names, as in a recurrence
    weights: dict[Hashable, np.ndarray] = {}
    for node in list(model.graph):
        if node.graph is not model.graph or node in inner:
            continue
        nodes = chains.get(node, (node,))
        calls = [call for call in map(_call, nodes) if call is not None]
        if not calls:
            continue
        call = calls[0] if len(calls) == 1 else chained(calls)
        layer = _layer(node, call, target, options)
        digests = {name: _digest(weight) for name, weight in layer.weights.items()}
        shared = {name: weights.setdefault(digests[name], weight) for name, weight in layer.weights.items()}
        key = (layer.op, layer.workload, json.dumps(layer.attributes), layer.output_shape, *digests.items())
        place = places.setdefault(key, len(layers))
        if place == len(layers):
            layers.append(replace(layer, weights=shared))
        else:
            layers[place] = replace(layers[place], calls=layers[place].calls + 1)
        _put(model, nodes, call, layers[place], place)
    _drop_swaps(model.graph)
    return _scheduled(layers, target, options)


def _chains(graph: ir.Graph, target: Target) -> list[tuple[ir.Node, ...]]:
    convolutions = (node for node in graph if (fused := Fused.of(node)) is not None and fused.op == "Conv")
    return find_chains({node: call for node in convolutions if (call := _call(node)) is not None}, target)


def _digest(weight: np.ndarray) -> Hashable:
    return weight.shape, hashlib.blake2b(np.ascontiguousarray(weight).data).digest()


def _call(node: ir.Node) -> Call | None:
    if node.domain == PASSES_DOMAIN and node.op_type in FUNCTIONS:
        return FUNCTIONS[node.op_type](node)
    if is_op(node, *OPERATORS):
        return OPERATORS[node.op_type](node)
    fused = Fused.of(node)
    return FUSED[fused.op](node) if fused is not None else None


def _layer(node: ir.Node, call: Call, target: Target, options: Options) -> Layer:
    shape = known_shape(node.outputs[0])
    if call.output_perm is not None:
        shape = tuple(shape[axis] for axis in call.output_perm)
    threads = target.num_cores
    attributes = dict(call.attributes)
    if call.workload is not None and call.workload.flops < _FLOPS_WORTH_A_THREAD * target.num_cores:
        threads = 1
    if call.op in ("conv2d", "dense"):
        attributes["fast_algorithms"] = options.fast_algorithms
    name = node.name or node.outputs[0].name or f"layer {len(attributes)}"
    return Layer(name, call.op, shape, attributes, call.weights, call.workload, call.stages, threads)


def _scheduled(layers: Sequence[Layer], target: Target, options: Options) -> list[Layer]:
    """Only now, since what was chosen for a model is known by all of its workloads."""
    chosen = options.of_model([layer.workload for layer in layers if layer.workload is not None], target)

    def scheduled(layer: Layer) -> Layer:
        if layer.workload is None:
            return layer
        if (choice := chosen.get(layer.workload)) is not None:
            return replace(layer, schedule=choice.schedule, threads=choice.threads)
        return layer.scheduled(options.schedules(layer.workload, replace(target, num_cores=layer.threads)))

    return [scheduled(layer) for layer in layers]


def _put(model: ir.Model, nodes: Sequence[ir.Node], call: Call, layer: Layer, place: int) -> None:
    """The kernel's call in the place of the nodes that it computes, and what of the last it leaves to others."""
    node, shape = nodes[-1], layer.output_shape
    output = node.outputs[0]
    new = [
        new_node(
            layer.op,
            call.inputs,
            {"place": place},
            like=output,
            name=node.name,
            domain=DOMAIN,
            shape=shape,
        )
    ]
    if call.output_perm is not None:
        perm = call.output_perm
        new.append(
            new_node(
                "Transpose", new[-1].outputs, {"perm": list(perm)}, like=output, shape=[shape[axis] for axis in perm]
            )
        )
    if call.activation is not None:
        name, numbers = call.activation
        new.append(_activation(model, new[-1].outputs[0], name, numbers))
    model.opset_imports.setdefault(DOMAIN, 1)
    supplant(nodes, new)


def _activation(model: ir.Model, x: ir.Value, name: str, numbers: Mapping[str, float]) -> ir.Node:
    body = ACTIVATIONS[name].body.replace("@", "@activation_")
    callee = function(f"activation_{name}", list(numbers), ["x"], [body], model.opset_imports[""])
    node = call_function(model, callee, [x], [ir.AttrFloat32(key, value) for key, value in numbers.items()])
    node.outputs[0].type, node.outputs[0].shape = x.type, x.shape
    return node


def _drop_swaps(graph: ir.Graph) -> None:
    """Pairs of transpositions that undo each other, and those that nothing reads any more."""
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
