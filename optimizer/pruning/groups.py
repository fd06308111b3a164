"""Finds the groups of channels of an ONNX model that must be removed together.

The outputs of a convolution or product are channels. The nodes behind it pass them on, join them with others (a
residual sum needs the same channels of both of its inputs), or read them. Which channels depend on each other follows
from one pass over the nodes in order; the sets of channels are those of a union-find structure. torch-pruning finds
such groups by gradients of a PyTorch module (Fang et al.: DepGraph: Towards Any Structural Pruning, CVPR 2023); here,
each ONNX operator has a rule.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx

from optimizer.graphs import inner_reads
from optimizer.pruning.blocks import settle
from optimizer.pruning.rules import RULES, SOURCES
from optimizer.pruning.trace import Edit, Node, Trace

STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Group:
    """Sets of channels that are chosen from together: all of them have the same places in the model.

    Attributes:
        name: that of the node that makes its channels, with a number if that node makes several groups.
        roots: the number of each channel's set, in order.
        layers: the nodes that make the channels.
        size: how many channels of a layer each set has at least: all of a head, one of each group of a convolution,
            else 1.
        fixed: why no channel can be removed; None if they can.
    """

    name: str
    roots: tuple[int, ...]
    layers: tuple[str, ...]
    size: int = 1
    fixed: str | None = None

    def __len__(self) -> int:
        return len(self.roots)


@dataclass(frozen=True)
class Groups:
    """All groups of a model.

    Attributes:
        free: the groups whose channels may be removed, in the order of the nodes.
        fixed: the other ones.
        places: for each constant with channels, by its name and axis, the number of the set of each place.
        edits: numbers in the model that count channels; ``channels`` are numbers of sets.
        reads: for each tensor that a convolution or product reads and whose channels are known, by its name: the axis
            of the channels, and the number of the set of each place.
        products: for each product of two tensors that are not constant, by its node, the numbers of sets that make
            equal parts of its multiply-adds.
    """

    free: tuple[Group, ...]
    fixed: tuple[Group, ...]
    places: dict[tuple[str, int], np.ndarray]
    edits: tuple[Edit, ...]
    reads: dict[str, tuple[int, np.ndarray]]
    products: dict[str, np.ndarray]

    def of_single_channels(self, reason: str) -> Groups:
        """Returns groups among which those whose sets have several channels are fixed, for this reason."""
        several = tuple(replace(group, fixed=reason) for group in self.free if group.size > 1)
        free = tuple(group for group in self.free if group.size == 1)
        return replace(self, free=free, fixed=(*self.fixed, *several))


def find(model: onnx.ModelProto) -> Groups:
    """Returns the groups of a model, whose nodes have different names and whose shapes are inferred.

    Channels that reach an output of the model, or a node without a rule, are fixed.
    """
    trace = Trace(model)
    reads: dict[str, int] = {}
    for proto in model.graph.node:
        node = Node(proto)
        view = trace.view(node.input(0))
        known = _apply(node, trace)
        if known and node.op_type in SOURCES and view is not None and len(view.axes) == 1:
            reads[node.inputs[0]] = view.axis
        inner = sorted(inner_reads(proto))
        trace.fix(inner, f"a branch or loop of {node} reads them")
    for output in model.graph.output:
        trace.fix([output.name], f"{output.name} is an output of the model")
    _check_constants(model, trace)
    settle(trace)
    channels = trace.channels
    places: dict[tuple[str, int], np.ndarray] = {}
    for name, uses in trace.bound.items():
        for axis, found in uses[0].items():
            rows = channels.roots(found.reshape(len(found), -1))
            if (rows == rows[:, :1]).all():  # otherwise another axis of the block loses places
                places[name, axis] = rows[:, 0]
    groups = list(_groups(trace, places, _convolution_groups(model)))
    return Groups(
        tuple(group for group in groups if group.fixed is None),
        tuple(group for group in groups if group.fixed is not None),
        places,
        tuple(Edit(edit.node, edit.place, channels.roots(edit.channels)) for edit in trace.edits),
        {name: (axis, channels.roots(trace.views[name].channels)) for name, axis in reads.items()},
        {node: channels.roots(found) for node, found in trace.products.items()},
    )


def _apply(node: Node, trace: Trace) -> bool:
    """Applies the rule of a node, if it has a part in this, and returns whether it did so without an obstacle."""
    standard = node.domain in STANDARD
    has_channels = any(trace.view(name) is not None for name in node.inputs)
    if not has_channels and not (standard and node.op_type in SOURCES):
        return False
    rule = RULES.get(node.op_type) if standard else None
    obstacle = "there is no rule for this operator" if rule is None else rule(node, trace)
    if obstacle is not None:
        trace.fix(node.inputs, f"{node}: {obstacle}")
        for name in node.outputs:
            trace.views.pop(name, None)
    for name in node.outputs:
        if (view := trace.view(name)) is not None and len(view.axes) > 1:
            trace.keep(view, ())
    return obstacle is None


def _check_constants(model: onnx.ModelProto, trace: Trace) -> None:
    """Joins the channels of constants that several nodes read, and fixes those that some reader does not see."""
    readers = Counter(name for node in model.graph.node for name in node.input if name)
    inner = {name for node in model.graph.node for name in inner_reads(node)}
    outputs = {output.name for output in model.graph.output}
    for name, uses in trace.bound.items():
        axes = {axis for use in uses for axis in use}
        seen = readers[name] == len(uses) and name not in inner | outputs
        for axis in axes:
            known = [use[axis] for use in uses if axis in use]
            if not seen or len(known) < len(uses):
                for found in known:
                    trace.channels.fix(found, f"another node reads the constant {name}, too")
            for found in known[1:]:
                trace.channels.join(*np.broadcast_arrays(*(each.reshape(len(each), -1) for each in (found, known[0]))))
            uses[0].setdefault(axis, known[0])


def _convolution_groups(model: onnx.ModelProto) -> dict[str, int]:
    """Returns the weights of convolutions and products, with the number of groups."""
    nodes = [Node(proto) for proto in model.graph.node if proto.op_type in SOURCES and len(proto.input) > 1]
    return {node.inputs[1]: node.attributes.get("group", 1) for node in nodes}


def _groups(trace: Trace, places: dict[tuple[str, int], np.ndarray], weights: Mapping[str, int]) -> Iterator[Group]:
    """Yields groups: sets with the same places, as often in each, and the same reason if they are fixed."""
    channels = trace.channels
    # Axis 1 of the weight of a convolution has the channels of one of its groups.
    times = [weights.get(name, 0) if axis == 1 else int(name in weights) for name, axis in places]
    where: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, roots in enumerate(places.values()):
        for root, count in zip(*map(np.ndarray.tolist, np.unique(roots, return_counts=True)), strict=True):
            where[root].append((number, count))
    members: dict[int, dict[str, None]] = defaultdict(dict)
    for channel in range(len(channels)):
        members[channels.root(channel)][channels.origin(channel)] = None
    found: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for root in sorted(where):
        found[(*where[root], channels.reason(root))].append(root)
    names: Counter[str] = Counter()
    for key, roots in found.items():
        layers = tuple(members[roots[0]])
        names[layers[0]] += 1
        number = f" ({names[layers[0]]})" if names[layers[0]] > 1 else ""
        size = min((count * times[number] for number, count in where[roots[0]] if times[number]), default=1)
        yield Group(layers[0] + number, tuple(roots), layers, size, channels.reason(roots[0]) if key[-1] else None)
