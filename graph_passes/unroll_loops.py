"""Unrolls Loop and Scan into copies of their bodies.

::

    Loop (3, cond, x) { i, c, s -> c', s + i }   becomes   a = x + 0,  b = a + 1,  c = b + 2

The number of iterations must be known: a constant, a condition that depends on counters only, or the size of a scanned
tensor. The condition is evaluated, iteration by iteration, from the constants with which the loop begins. The pass is
for importers without loops, and not part of the default passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, described, every_node, too_old
from graph_passes.evaluate import evaluate, needed
from graph_passes.lazy import ir
from graph_passes.replacement import Replacement, infer_shapes
from graph_passes.subgraphs import splice
from graph_passes.values import data_input, is_op, required

OLDEST_OPSET = 13  # in which the axes of Unsqueeze are an input


@dataclass(frozen=True)
class UnrollLoops(Pass):
    name: ClassVar[str] = "unroll_loops"
    longest: int = field(default=128, metadata={"help": "iterations above which a loop is not unrolled"})
    largest: int = field(default=100_000, metadata={"help": "nodes that all copies of a body may have together"})

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        from onnx_ir.passes import common

        if not any(is_op(node, "Loop", "Scan") for node in every_node(model)):
            return
        remark = too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        left: set[ir.Node] = set()
        while node := next((n for n in every_node(model) if is_op(n, "Loop", "Scan") and n not in left), None):
            longest = min(self.longest, self.largest // max(_size(node.attributes["body"].as_graph()), 1))
            obstacle = (_loop if is_op(node, "Loop") else _scan)(node, longest)
            if obstacle:
                left.add(node)
                yield Remark(described(node), f"not unrolled: {obstacle}")
            else:
                common.NameFixPass()(model)  # the copies of a body have the same names
                infer_shapes(model)  # a loop after this one may scan its output


def _size(body: ir.Graph) -> int:
    return sum(len(graph) for graph in (body, *body.subgraphs()))


def _loop(node: ir.Node, longest: int) -> str | None:
    """Unrolls a Loop. Returns why it cannot be unrolled; None if it was."""
    body = node.attributes["body"].as_graph()
    carried = [required(value) for value in node.inputs[2:]]
    count = _iterations(node, body, carried, longest)
    if isinstance(count, str):
        return count
    new = Replacement(node)
    going = new.constant("goes_on", np.array(True))
    states, scanned = carried, [list[ir.Value]() for _ in body.outputs[1 + len(carried) :]]
    if count == 0 and any(output.uses() or output.is_graph_output() for output in node.outputs[len(carried) :]):
        return "it has no iterations"
    for k in range(count):
        _, *found = splice(node, body, [new.constant(f"iteration_{k}", np.array(k, np.int64)), going, *states])
        states = found[: len(carried)]
        for slices, value in zip(scanned, found[len(carried) :], strict=True):
            slices.append(value)
    stacks = [_stacked(new, slices, 0) if slices else going for slices in scanned]
    new.replace(*(new.op("Identity", state) for state in states), *stacks)
    return None


def _iterations(node: ir.Node, body: ir.Graph, carried: Sequence[ir.Value], longest: int) -> int | str:
    """Returns the number of iterations of a Loop, or why it is unknown."""
    most = data_input(node, 0)
    limit = None if most is None else evaluate(most)
    if most is not None and limit is None:
        return "its number of iterations is not constant"
    bound = longest + 1 if limit is None else int(limit.reshape(-1)[0])
    first = data_input(node, 1)
    goes_on = np.array(True) if first is None else evaluate(first)
    if goes_on is None:
        return "its first condition is not constant"
    if limit is None and first is None:
        return "it never ends"
    going = body.outputs[0]
    counters = needed(going, body)
    read = [place for place in range(len(carried)) if body.inputs[2 + place] in counters]
    known = {place: array for place in read if (array := evaluate(carried[place])) is not None}
    k = 0
    while k < bound and bool(goes_on.reshape(-1)[0]):
        if k == longest:
            return f"it has more than {longest} iterations"
        values = {body.inputs[0]: np.array(k, np.int64), body.inputs[1]: np.array(True)}
        values |= {body.inputs[2 + place]: array for place, array in known.items()}
        goes_on = evaluate(going, values)
        if goes_on is None:
            return "whether it goes on depends on its inputs"
        after = {
            place: evaluate(body.outputs[1 + place], values) for place in known if body.inputs[2 + place] in counters
        }
        known = {place: array for place, array in after.items() if array is not None}
        k += 1
    return k


def _scan(node: ir.Node, longest: int) -> str | None:
    """Unrolls a Scan. Returns why it cannot be unrolled; None if it was."""
    attributes = node.attributes
    body = attributes["body"].as_graph()
    scans = attributes.get_int("num_scan_inputs", 0) or 0
    states = [required(value) for value in node.inputs[: len(node.inputs) - scans]]
    inputs = [required(value) for value in node.inputs[len(states) :]]
    outputs = len(body.outputs) - len(states)
    (axes, directions), (output_axes, output_directions) = (
        [attributes.get_ints(f"scan_{kind}_{name}", ()) or (0,) * count for name in ("axes", "directions")]
        for kind, count in (("input", scans), ("output", outputs))
    )
    sizes = {None if value.shape is None else value.shape[axis] for value, axis in zip(inputs, axes, strict=True)}
    count = next(iter(sizes), None)
    if len(sizes) != 1 or not isinstance(count, int):
        return "its number of iterations is unknown"
    if count > longest:
        return f"it has {count} iterations, more than {longest}"
    if count == 0:
        return "it has no iterations"
    new = Replacement(node)
    scanned = [list[ir.Value]() for _ in range(outputs)]
    for k in range(count):
        places = [count - 1 - k if backwards else k for backwards in directions]
        slices = [
            new.op("Gather", value, new.constant(f"place_{k}", np.array(place, np.int64)), axis=axis)
            for value, place, axis in zip(inputs, places, axes, strict=True)
        ]
        found = splice(node, body, [*states, *slices])
        states = found[: len(states)]
        for parts, value in zip(scanned, found[len(states) :], strict=True):
            parts.append(value)
    stacks = [
        _stacked(new, parts[::-1] if backwards else parts, axis)
        for parts, backwards, axis in zip(scanned, output_directions, output_axes, strict=True)
    ]
    new.replace(*(new.op("Identity", state) for state in states), *stacks)
    return None


def _stacked(new: Replacement, slices: Sequence[ir.Value], axis: int) -> ir.Value:
    place = new.constant("axis", np.array([axis], np.int64))
    return new.op("Concat", *(new.op("Unsqueeze", part, place) for part in slices), axis=axis)
