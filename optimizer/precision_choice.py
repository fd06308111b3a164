"""Chooses which layers stay in floating point, so that a quantized model answers nearly as the original.

A layer in floating point reads what the layers before it compute, without rounding it to 8 bits, and has its original
weights. So one calibration serves all choices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx

from optimizer.divergence import Divergence
from optimizer.graphs import reads
from optimizer.samples import Samples

MOST_SAMPLES = 16  # on which each layer alone is compared


@dataclass(frozen=True)
class LayerError:
    """What one layer alone changes in the answers, if all others stay in floating point.

    Attributes:
        layer: the name of the node.
        operator: its type.
        divergence: of the answers (:mod:`optimizer.divergence`).
    """

    layer: str
    operator: str
    divergence: float


def with_floats(quantized: onnx.ModelProto, original: onnx.ModelProto, layers: Collection[str]) -> onnx.ModelProto:
    """Returns a quantized model in which some layers compute in floating point.

    Args:
        quantized: nodes have the names that they have in ``original``.
        original: the model before it was quantized.
        layers: names of nodes.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(quantized)
    edit = _Edit(changed.graph, original.graph)
    nodes = list(changed.graph.node)
    del changed.graph.node[:]
    for node in nodes:
        if node.name in layers:
            changed.graph.node.extend(edit.in_float(node))
        changed.graph.node.append(node)
    _drop_unread(changed.graph)
    return changed


class _Edit:
    """Gives layers of a quantized graph their inputs in floating point."""

    def __init__(self, graph: onnx.GraphProto, original: onnx.GraphProto) -> None:
        self._graph = graph
        self._made_by = {output: node for node in graph.node for output in node.output}
        self._names = {node.name for node in graph.node}
        self._original = {node.name: node for node in original.node}
        self._originally_made_by = {output: node for node in original.node for output in node.output}
        self._constants = {tensor.name: tensor for tensor in original.initializer}
        self._added: set[str] = set()

    def in_float(self, layer: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Changes the inputs of a layer, and returns the nodes that it needs before it."""
        needed: list[onnx.NodeProto] = []
        for place, name in enumerate(self._original[layer.name].input):
            if name in self._constants:
                layer.input[place] = self._constant(name)
                continue
            back = self._made_by.get(layer.input[place])
            quantizer = self._made_by.get(back.input[0]) if back is not None and _is(back, "DequantizeLinear") else None
            if quantizer is not None and _is(quantizer, "QuantizeLinear"):
                layer.input[place] = self._activated(quantizer.input[0], name, needed)
        return needed

    def _constant(self, name: str) -> str:
        own = f"{name}/float"  # the quantized model may have integers, or a node, of the name
        if own not in self._added:
            self._added.add(own)
            self._graph.initializer.append(self._constants[name])
            self._graph.initializer[-1].name = own
        return own

    def _activated(self, value: str, name: str, needed: list[onnx.NodeProto]) -> str:
        """Returns a tensor with the activations that the quantizer replaced by saturation."""
        missing = []
        node = self._originally_made_by.get(name)
        while node is not None and node.name not in self._names:
            missing.append(node)
            node = self._originally_made_by.get(node.input[0])
        for activation in reversed(missing):
            own = f"{activation.output[0]}/float"
            if own not in self._added:
                self._added.add(own)
                new = onnx.NodeProto()
                new.CopyFrom(activation)
                new.input[0], new.output[0] = value, own
                for place in range(1, len(new.input)):
                    if new.input[place] in self._constants:
                        new.input[place] = self._constant(new.input[place])
                needed.append(new)
            value = own
        return value


def _is(node: onnx.NodeProto, operator: str) -> bool:
    return node.op_type == operator and node.domain in ("", "ai.onnx")


def layer_errors(
    original: onnx.ModelProto,
    quantized: onnx.ModelProto,
    layers: Sequence[str],
    samples: Samples,
    threads: int | None,
) -> tuple[LayerError, ...]:
    """Returns what each layer alone changes in the answers, largest first."""
    divergence = Divergence(original, samples, MOST_SAMPLES, threads)
    operators = {node.name: node.op_type for node in original.graph.node}
    found = [
        LayerError(layer, operators[layer], divergence(with_floats(quantized, original, set(layers) - {layer})))
        for layer in layers
    ]
    return tuple(sorted(found, key=lambda error: -error.divergence))


def fewest(most: int, suffices: Callable[[int], bool]) -> int:
    """Returns a number up to ``most`` that suffices, by bisection: the least if all larger ones do; ``most`` does."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        if suffices(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _drop_unread(graph: onnx.GraphProto) -> None:
    """Removes nodes and constants that no output depends on."""
    wanted, kept = {output.name for output in graph.output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= reads(node)
    nodes = list(reversed(kept))
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
