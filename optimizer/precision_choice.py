"""Chooses which layers stay in floating point, so that a quantized model answers nearly as the original.

A layer in floating point reads what the layers before it compute, without rounding it to 8 bits, and has its original
weights. So one calibration serves all choices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from optimizer.graphs import reads
from optimizer.samples import Samples
from optimizer.session import Session

MOST_SAMPLES = 16  # on which each layer alone is compared
_SMALLEST = 1e-12  # a probability


@dataclass(frozen=True)
class LayerError:
    """What one layer alone changes in the answers, if all others stay in floating point.

    Attributes:
        layer: the name of the node.
        operator: its type.
        divergence: the Kullback-Leibler divergence of the probabilities from those of the original, the mean over
            samples; for outputs that are not scores of classes, the power of the differences over that of the answers.
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
    chosen = np.sort(np.random.default_rng(0).permutation(len(samples))[: _whole(samples)])  # samples may be in order
    some = Samples({name: array[chosen] for name, array in samples.arrays.items()}, samples.batch)
    wanted = _outputs(original, some, threads)
    operators = {node.name: node.op_type for node in original.graph.node}
    found = []
    for layer in layers:
        alone = with_floats(quantized, original, set(layers) - {layer})
        found.append(LayerError(layer, operators[layer], _divergence(wanted, _outputs(alone, some, threads))))
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


def _whole(samples: Samples) -> int:
    """Returns the number of samples on which layers are compared: whole runs."""
    return min(len(samples), max(samples.batch, MOST_SAMPLES // samples.batch * samples.batch))


def _outputs(model: onnx.ModelProto, samples: Samples, threads: int | None) -> dict[str, np.ndarray]:
    session = Session(model, threads)
    runs = [session(inputs) for inputs in samples]
    names = [name for name, value in runs[0].items() if value.dtype.kind == "f"]
    return {name: np.stack([run[name] for run in runs]).astype(np.float64) for name in names}


def _divergence(wanted: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    total = 0.0
    for name, original in wanted.items():
        if original.ndim == 3 and original.shape[-1] > 1:  # runs, samples, classes
            p, q = _probabilities(original), _probabilities(found[name])
            total += float((p * np.log(np.maximum(p, _SMALLEST) / np.maximum(q, _SMALLEST))).sum(-1).mean())
        else:
            power = float(np.square(original).sum())
            total += float(np.square(original - found[name]).sum()) / max(power, _SMALLEST)
    return total


def _probabilities(scores: np.ndarray) -> np.ndarray:
    if (scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-3):
        return scores
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


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
