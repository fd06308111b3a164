"""Removes channels from a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer.graphs import reads
from optimizer.pruning.groups import Groups
from optimizer.pruning.trace import Edit


def without(model: onnx.ModelProto, groups: Groups, removed: Collection[int]) -> onnx.ModelProto:
    """Returns a copy of a model without channels.

    Args:
        model: the model.
        groups: its groups.
        removed: the numbers of the sets that are removed.
    """
    gone = np.array(sorted(removed), np.int64)
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    graph = pruned.graph
    kept: dict[str, dict[int, np.ndarray]] = {}
    for (name, axis), roots in groups.places.items():
        staying = np.flatnonzero(~np.isin(roots, gone))
        if len(staying) < len(roots):
            kept.setdefault(name, {})[axis] = staying
    for tensor in graph.initializer:
        if tensor.name in kept:
            array = numpy_helper.to_array(tensor)
            for axis, staying in kept[tensor.name].items():
                array = np.take(array, staying, axis)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
    _edit(graph, groups.edits, gone)
    del graph.value_info[:]
    return onnx.shape_inference.infer_shapes(pruned)


def _edit(graph: onnx.GraphProto, edits: Collection[Edit], gone: np.ndarray) -> None:
    """Updates numbers that count channels. Constants may have other readers, so an edited one is a new constant."""
    nodes: Mapping[str, onnx.NodeProto] = {node.name: node for node in graph.node}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    replaced = set()
    for edit in edits:
        rows = edit.channels.reshape(len(edit.channels), -1)
        count = int((~np.isin(rows, gone)).any(1).sum())
        if count == len(rows):
            continue
        node = nodes[edit.node]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if isinstance(edit.place, str):
            attributes[edit.place].i = count
            continue
        place, index = edit.place
        if isinstance(place, str):
            attributes[place].ints[index] = count
            continue
        sizes = numpy_helper.to_array(tensors[node.input[place]]).copy()
        sizes[index] = count
        name = f"{node.name}/sizes"
        while name in tensors:
            name += "_"
        replaced.add(node.input[place])
        node.input[place] = name
        tensors[name] = numpy_helper.from_array(sizes, name)
        graph.initializer.append(tensors[name])
    read = {name for node in graph.node for name in reads(node)}
    for name in replaced - read - {output.name for output in graph.output}:
        graph.initializer.remove(tensors[name])
