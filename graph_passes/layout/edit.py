"""The form of a node defines how it is rewritten with channels last; the edit rewrites the chosen nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from graph_passes.base import Remark, described
from graph_passes.layout.axes import (
    Dim,
    channels_first,
    channels_last,
    dims_of,
    is_image,
    last_dims,
    rank_of,
    reordered,
    reshape_target,
    widened,
)
from graph_passes.lazy import ir
from graph_passes.values import constant, new_constant, new_node, producer


class Side(Enum):
    """The layout in which a node reads or writes images."""

    FIRST = "channels first, as in the original model"
    LAST = "channels last"
    EITHER = "the layout of the input"  # for reading only
    NODE = "the layout chosen for the node"


Images: TypeAlias = "Mapping[int, ir.Value]"  # by input index, in the layout that the node reads
Build: TypeAlias = "Callable[[Edit, ir.Node, Images, bool], Sequence[ir.Value]]"
Rule: TypeAlias = "Callable[[ir.Node], Form | str]"  # returns the form of a node, or why it has none


@dataclass(frozen=True)
class Form:
    """How a node is rewritten with channels last.

    ``build(edit, node, images, to_last)`` adds the new nodes and returns their outputs, with channels last if
    ``to_last``.
    """

    images: tuple[int, ...]  # indices of inputs that are images
    build: Build
    reads: Side = Side.NODE
    writes: Side = Side.NODE


@dataclass
class Edit:
    """Rewrites the chosen nodes in the order of the graph, then transposes values that other nodes still read.

    ``graph`` is the main graph of the model, or a branch.
    """

    model: ir.Model
    graph: ir.Graph
    forms: Mapping[ir.Node, Form]
    obstacles: Mapping[ir.Node, str]
    chosen: set[ir.Node]
    remarks: list[Remark] = field(default_factory=list)
    twins: dict[ir.Value, ir.Value] = field(default_factory=dict)  # the channels-last version of each value
    operands: dict[tuple[ir.Value, int], ir.Value] = field(default_factory=dict)

    def run(self) -> None:
        rewritten = []
        for node in list(self.graph):
            form = self.forms.get(node)
            if form is None or not (self._writes_last(node, form) or self._reads_last(node, form)):
                continue
            images = {
                place: self._read(node, form, value)
                for place, value in enumerate(node.inputs)
                if place in form.images and value is not None
            }
            to_last = self._writes_last(node, form)
            outputs = form.build(self, node, images, to_last)
            rewritten.append((node, outputs, to_last))
            if to_last:
                self.twins.update(zip(node.outputs, outputs, strict=False))
        for node, outputs, to_last in reversed(rewritten):
            for old, new in zip(node.outputs, outputs, strict=False):
                self._replace(node, old, new, to_last and is_image(old))
            self.graph.remove(node, safe=True)

    def _writes_last(self, node: ir.Node, form: Form) -> bool:
        return form.writes is Side.LAST or (form.writes is Side.NODE and node in self.chosen)

    def _reads_last(self, node: ir.Node, form: Form) -> bool:
        if form.reads is Side.EITHER:
            return any(self._is_written_last(node.inputs[place]) for place in form.images)
        return form.reads is Side.LAST or (form.reads is Side.NODE and node in self.chosen)

    def _is_written_last(self, value: ir.Value | None) -> bool:
        writer = producer(value)
        form = None if writer is None else self.forms.get(writer)
        return writer is not None and form is not None and value in self.twins and self._writes_last(writer, form)

    def _read(self, node: ir.Node, form: Form, value: ir.Value) -> ir.Value:
        is_last = self._is_written_last(value) if form.reads is Side.EITHER else self._reads_last(node, form)
        return self.last(value) if is_last else value

    def _replace(self, node: ir.Node, old: ir.Value, new: ir.Value, is_last: bool) -> None:
        """Makes remaining readers of ``old`` read ``new``, or a transpose of it."""
        if not old.uses() and not old.is_graph_output():
            return
        if is_last:
            self._remark_readers(old)
            back = new_node("Transpose", [new], {"perm": channels_first(rank_of(old))}, like=old)
            self.graph.insert_after(node, back)
            new = back.outputs[0]
            new.name = old.name
        if old.is_graph_output():
            if new.producer() is None or new.is_graph_output():  # its name must not change
                copy = new_node("Identity", [new], like=old)
                self.graph.insert_after(node, copy)
                new = copy.outputs[0]
            new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def _remark_readers(self, value: ir.Value) -> None:
        for user, _ in value.uses():
            reason = self.obstacles.get(user) if user.graph is self.graph else "it is part of a loop or condition"
            if reason:
                self.remarks.append(Remark(described(user), f"its input is transposed: {reason}"))

    # Used by the build functions of forms

    def last(self, value: ir.Value) -> ir.Value:
        """Returns the value with channels last, transposed if necessary."""
        if value not in self.twins:
            array = constant(value)
            perm = channels_last(rank_of(value) if array is None else array.ndim)
            if array is not None:
                self.twins[value] = new_constant(self.graph, f"{value.name}_nhwc", array.transpose(perm))
            else:
                self.twins[value] = self._transposed(value, perm)
        return self.twins[value]

    def _transposed(self, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
        moving = new_node("Transpose", [value], {"perm": perm}, like=value)
        moving.outputs[0].shape = ir.Shape(reordered(dims_of(value), perm))
        moving.outputs[0].name = f"{value.name}_nhwc"
        self._insert_behind(value, moving)
        writer = value.producer()
        if writer is not None and writer in self.obstacles:
            self.remarks.append(Remark(described(writer), f"its output is transposed: {self.obstacles[writer]}"))
        return moving.outputs[0]

    def _insert_behind(self, value: ir.Value, node: ir.Node) -> None:
        writer = value.producer()
        if writer is None or writer.graph is not self.graph:
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.insert_after(writer, node)

    def operand(self, value: ir.Value, rank: int) -> ir.Value:
        """Returns an operand that broadcasts to ``rank`` dimensions, channels last: (C, 1, 1) becomes (C,)."""
        array, dims = constant(value), widened(dims_of(value), rank)
        if all(dim == 1 for dim in dims):
            return value
        if (value, rank) not in self.operands:
            self.operands[value, rank] = (
                self._reshaped_operand(value, last_dims(dims))
                if array is None
                else self._constant_operand(
                    value, array.reshape(widened(array.shape, rank)).transpose(channels_last(rank))
                )
            )
        return self.operands[value, rank]

    def _constant_operand(self, value: ir.Value, wide: np.ndarray) -> ir.Value:
        leading = next((axis for axis in range(wide.ndim) if wide.shape[axis] != 1), wide.ndim)
        return new_constant(self.graph, f"{value.name}_nhwc", wide.reshape(wide.shape[leading:]))

    def _reshaped_operand(self, value: ir.Value, dims: list[Dim]) -> ir.Value:
        shape = new_constant(self.graph, f"{value.name}_shape", np.array(reshape_target([], dims), np.int64))
        node = new_node("Reshape", [value, shape], like=value)
        node.outputs[0].shape, node.outputs[0].name = ir.Shape(dims), f"{value.name}_nhwc"
        self._insert_behind(value, node)
        return node.outputs[0]

    def again(
        self,
        node: ir.Node,
        inputs: Mapping[int, ir.Value | np.ndarray],
        to_last: bool,
        attributes: Mapping[str, Any] | None = None,
    ) -> Sequence[ir.Value]:
        """Adds a copy of ``node`` with some inputs and attributes replaced. Returns its outputs."""
        given: list[ir.Value | None] = [*node.inputs, *[None] * (max(inputs, default=0) + 1 - len(node.inputs))]
        for place, value in inputs.items():
            is_array = isinstance(value, np.ndarray)
            given[place] = new_constant(self.graph, f"{node.outputs[0].name}_{place}", value) if is_array else value
        kept = [a for name, a in node.attributes.items() if name not in (attributes or {})]
        kept += ir.convenience.convert_attributes(attributes or {})
        new = ir.Node(node.domain, node.op_type, given, kept, num_outputs=len(node.outputs), name=node.name)
        return self.put(node, new, to_last)

    def put(self, node: ir.Node, new: ir.Node, to_last: bool) -> Sequence[ir.Value]:
        """Inserts ``new`` before ``node``, which it replaces. Returns its outputs."""
        for old, output in zip(node.outputs, new.outputs, strict=False):
            output.type, output.shape = old.type, old.shape
            output.name = old.name
            if to_last and is_image(old):
                output.name = f"{old.name}_nhwc"
                output.shape = ir.Shape(last_dims(dims_of(old)))
        self.graph.insert_before(node, new)
        return new.outputs
