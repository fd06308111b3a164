"""What is found out about the channels of a model while its nodes are read in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer.graphs import attributes_of
from optimizer.pruning.channels import Channels

Shape: TypeAlias = tuple["int | None", ...]  # None: the size varies


@dataclass(frozen=True)
class View:
    """The channels of a tensor.

    Attributes:
        axes: the axes along which they lie, from 0: one, or several behind a Reshape that divides it, such as that of
            the heads of an attention and that of the channels in each.
        channels: the channel of each place along these axes, with one axis for each of them. A channel may have several
            places, as behind a Flatten.
    """

    axes: tuple[int, ...]
    channels: np.ndarray

    @property
    def axis(self) -> int:
        """The axis, if it is only one."""
        (axis,) = self.axes
        return axis

    def __len__(self) -> int:
        return self.channels.size

    @property
    def sizes(self) -> dict[int, int]:
        """The number of places along each axis."""
        return dict(zip(self.axes, self.channels.shape, strict=True))

    def at(self, axes: Iterable[int]) -> View:
        """Returns the same channels along other axes."""
        return View(tuple(axes), self.channels)

    def along(self, axis: int) -> np.ndarray:
        """Returns the channels of each place along one of the axes: one per row if there are other axes, too."""
        if len(self.axes) == 1:
            return self.channels
        moved = np.moveaxis(self.channels, self.axes.index(axis), 0)
        return moved.reshape(len(moved), -1)

    def spread(self, axes: Sequence[int]) -> np.ndarray:
        """Returns the channels as an array with these ascending axes, of size 1 along those without channels."""
        return self.channels.transpose(np.argsort(self.axes)).reshape([self.sizes.get(axis, 1) for axis in axes])


@dataclass(frozen=True)
class Edit:
    """A number in the model that counts channels, and follows them.

    Attributes:
        node: the name of its node.
        place: an attribute ``group``, or an element of a constant or of an attribute: (input of the node, or name of
            the attribute, and index in it).
        channels: what it counts, or rows of channels: then a row counts if one of its channels is kept.
    """

    node: str
    place: str | tuple[int | str, int]
    channels: np.ndarray


class Node:
    """A node with its attributes as Python values."""

    def __init__(self, proto: onnx.NodeProto) -> None:
        self.proto = proto
        self.name, self.op_type, self.domain = proto.name, proto.op_type, proto.domain
        self.inputs, self.outputs = tuple(proto.input), tuple(proto.output)

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        return attributes_of(self.proto)

    def input(self, place: int) -> str | None:
        """Returns the name of an input; None if it is omitted."""
        return (self.inputs[place] or None) if place < len(self.inputs) else None

    def __str__(self) -> str:
        return f"{self.op_type} {self.name}"


class Trace:
    """The channels of each tensor, and where constants have them.

    Attributes:
        channels: all channels.
        views: of the tensors that have channels. Tensors that are missing have none that may be removed.
        bound: for each constant by name, one entry per node that reads it: the channels along each of its axes.
        edits: the numbers that count channels.
        products: for each product of two tensors that are not constant, by its node, channels that make equal parts of
            its multiply-adds.
        blocks: channels of all views along several axes, with those axes of the array along which places must stay.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.channels = Channels()
        self.views: dict[str, View] = {}
        self.bound: dict[str, list[dict[int, np.ndarray]]] = defaultdict(list)
        self.edits: list[Edit] = []
        self.products: dict[str, np.ndarray] = {}
        self.blocks: list[tuple[np.ndarray, frozenset[int]]] = []
        self.opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
        given = {value.name for value in graph.input}  # a caller may give an initializer that is an input, too
        self._tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.name not in given}
        self._shapes: dict[str, tuple[int | None, ...]] = {
            value.name: _shape(value.type.tensor_type.shape)
            for value in (*graph.input, *graph.value_info, *graph.output)
            if value.type.tensor_type.HasField("shape")
        }
        self._shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}

    def shape(self, name: str | None) -> Shape | None:
        """Returns the shape of a tensor, with None for sizes that vary; None if it is unknown."""
        return None if name is None else self._shapes.get(name)

    def is_constant(self, name: str | None) -> bool:
        return name in self._tensors

    def constant(self, name: str | None) -> np.ndarray | None:
        """Returns the elements of a constant; None for any other tensor."""
        tensor = self._tensors.get(name) if name is not None else None
        return None if tensor is None else numpy_helper.to_array(tensor)

    def view(self, name: str | None) -> View | None:
        return None if name is None else self.views.get(name)

    def bind(self, name: str, axes: Mapping[int, np.ndarray]) -> None:
        """Notes that a node reads a constant with these channels along its axes, or rows of them (``View.along``)."""
        self.bound[name].append(dict(axes))

    def keep(self, view: View, axes: Iterable[int]) -> None:
        """Notes that a view along several axes must keep all places along some of them."""
        self.blocks.append((view.channels, frozenset(view.axes.index(axis) for axis in axes)))

    def fix(self, names: Sequence[str | None], reason: str) -> None:
        """Fixes the channels of tensors."""
        for name in names:
            view = self.view(name)
            if view is not None:
                self.channels.fix(view.channels, reason)


def _shape(shape: onnx.TensorShapeProto) -> Shape:
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in shape.dim)
