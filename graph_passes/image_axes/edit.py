"""Rewrites nodes to images of two axes, and converts images that other nodes still read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from graph_passes.image_axes.lifting import ONE_AXIS, RANK, Lifting, lifting_of
from graph_passes.layout.axes import dims_of
from graph_passes.lazy import ir
from graph_passes.values import constant, new_constant, new_node

# Adds nodes that compute the outputs of a node, and returns these; None if it cannot.
Rule: TypeAlias = "Callable[[Edit, ir.Node, Lifting], Outputs | None]"


@dataclass(frozen=True)
class Outputs:
    """The new outputs of a node, as images of two axes if ``lifted``, otherwise with the shapes of the old ones."""

    values: Sequence[ir.Value]
    lifted: bool = True


def keeps_rank(node: ir.Node, lifting: Lifting) -> bool:
    """Returns whether all outputs that are used are images with these axes."""
    used = [output for output in node.outputs if output.uses() or output.is_graph_output()]
    return all(lifting_of(dims_of(output)) is lifting for output in used)


@dataclass
class Edit:
    """Rewrites the nodes of a graph in order; :meth:`finish` removes the old ones."""

    graph: ir.Graph
    twins: dict[ir.Value, ir.Value] = field(default_factory=dict)  # the image of two axes of each value
    written: set[ir.Value] = field(default_factory=set)  # values that rewritten nodes write as such images
    _rewritten: list[tuple[ir.Node, Outputs]] = field(default_factory=list)
    _place: ir.Node | None = None  # new nodes are inserted before it: the node that is being rewritten

    def rewrite(self, node: ir.Node, rule: Rule, lifting: Lifting) -> bool:
        """Rewrites a node by its rule; returns whether it did. Nodes must come in the order of the graph."""
        self._place = node
        outputs = rule(self, node, lifting)
        if outputs is None:
            return False
        self._rewritten.append((node, outputs))
        if outputs.lifted:
            pairs = list(zip(node.outputs, outputs.values, strict=False))
            self.twins.update(pairs)
            self.written.update(old for old, _ in pairs)
        return True

    def finish(self) -> None:
        """Makes the remaining readers of old outputs read the new ones, and removes the old nodes."""
        for node, outputs in reversed(self._rewritten):
            for old, new in zip(node.outputs, outputs.values, strict=False):
                if old.uses() or old.is_graph_output():
                    self._replace(node, old, new, outputs.lifted)
            self.graph.remove(node, safe=True)

    def _replace(self, node: ir.Node, old: ir.Value, new: ir.Value, lifted: bool) -> None:
        self._place = node
        if lifted:
            new = self._unlifted(old, new)
        if old.is_graph_output():
            if new.producer() is None or new.is_graph_output():  # its name must not change
                copy = new_node("Identity", [new], like=old)
                self.graph.insert_before(node, copy)
                new = copy.outputs[0]
            new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def _unlifted(self, old: ir.Value, twin: ir.Value) -> ir.Value:
        dims = dims_of(old)
        if lifting_of(dims) is ONE_AXIS:
            return self.op("Squeeze", [twin, self.ints("axes", [2])], like=old, dims=dims)
        turned = self.op("Transpose", [twin], {"perm": [1, 0, 2, 3]}, like=old, dims=dims[1:])
        return self.op("Unsqueeze", [turned, self.ints("axes", [0])], like=old, dims=dims)

    # Used by rules

    def lifted(self, value: ir.Value) -> ir.Value:
        """Returns a value as an image of two axes. ``lifting_of`` its dimensions must not be None."""
        if value not in self.twins:
            self.twins[value] = self._entering(value)
        return self.twins[value]

    def _entering(self, value: ir.Value) -> ir.Value:
        lifting, dims, array = lifting_of(dims_of(value)), dims_of(value), constant(value)
        if lifting is None:
            raise ValueError(f"{value.name} is not an image of one or three axes")
        if array is not None:
            return new_constant(self.graph, f"{value.name}_2d", lifting.array(array))
        sizes = lifting.numbers(dims, 1)
        if lifting is ONE_AXIS:
            return self.op("Unsqueeze", [value, self.ints("axes", [2])], like=value, dims=sizes)
        flat = self.op("Squeeze", [value, self.ints("axes", [0])], like=value, dims=dims[1:])
        return self.op("Transpose", [flat], {"perm": [1, 0, 2, 3]}, like=value, dims=sizes)

    def operand(self, value: ir.Value, lifting: Lifting) -> ir.Value | None:
        """Returns an operand of an elementwise operator whose output is lifted; None for a form without one."""
        array, dims = constant(value), dims_of(value)
        if value.shape is None or len(dims) > lifting.rank:
            return None
        if all(dim == 1 for dim in dims) and len(dims) < lifting.rank:  # an image of one pixel is lifted too
            return value
        if array is not None:
            return new_constant(self.graph, f"{value.name}_2d", lifting.array(array))
        if len(dims) == lifting.rank:
            return None if lifting_of(dims) is not lifting else self.lifted(value)
        if len(dims) == 2 and lifting is ONE_AXIS:
            sizes = [dims[0], 1, dims[1]]
            return self.op("Unsqueeze", [value, self.ints("axes", [1])], like=value, dims=sizes)
        stays = range(lifting.rank - len(dims), lifting.rank)  # the last axes, if they are the last ones there too
        offset = RANK - lifting.rank
        return value if all(lifting.axes[axis] == axis + offset for axis in stays) else None

    def ints(self, name: str, numbers: Sequence[int]) -> ir.Value:
        return self.constant(name, np.array(numbers, np.int64))

    def constant(self, name: str, array: np.ndarray) -> ir.Value:
        return new_constant(self.graph, name, array)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        like: ir.Value,
        dims: Sequence[Any],
    ) -> ir.Value:
        """Adds a node. Returns its output, which has the type of ``like`` and these dimensions."""
        node = new_node(op_type, inputs, attributes, like=like)
        node.outputs[0].shape = ir.Shape(dims)
        self._insert(node)
        return node.outputs[0]

    def _insert(self, node: ir.Node) -> None:
        if self._place is None:
            raise RuntimeError("no node is being rewritten")
        self.graph.insert_before(self._place, node)

    def again(
        self,
        node: ir.Node,
        lifting: Lifting,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        dims: Sequence[Any] | None = None,
    ) -> list[ir.Value]:
        """Adds a copy of ``node`` with these inputs and some attributes replaced; returns its outputs.

        ``dims``: of its outputs; None means those of the old outputs, lifted.
        """
        kept = [attribute for name, attribute in node.attributes.items() if name not in (attributes or {})]
        kept += ir.convenience.convert_attributes(attributes or {})
        new = ir.Node(node.domain, node.op_type, inputs, kept, num_outputs=len(node.outputs), name=node.name)
        for old, output in zip(node.outputs, new.outputs, strict=True):
            output.type = old.type
            output.name = f"{old.name}_2d" if old.name else ""
            if dims is not None:
                output.shape = ir.Shape(dims)
            elif lifting_of(dims_of(old)) is lifting:
                output.shape = ir.Shape(lifting.numbers(dims_of(old), 1))
        self._insert(new)
        return list(new.outputs)
