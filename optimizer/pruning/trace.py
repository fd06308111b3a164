"""What is found out about the channels of a model while its nodes are read in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from optimizer.pruning.channels import Channels

Shape: TypeAlias = tuple["int | None", ...]  # None: the size varies


@dataclass(frozen=True)
class View:
    """The channels of a tensor.

    Attributes:
        axis: the axis along which they lie, from 0.
        channels: the channel of each place along this axis. A channel may have several places, as behind a Flatten.
    """

    axis: int
    channels: np.ndarray

    def __len__(self) -> int:
        return len(self.channels)


@dataclass(frozen=True)
class Edit:
    """A number in the model that counts channels, and follows them.

    Attributes:
        node: the name of its node.
        place: an attribute ``group``, or an element of a constant: (input of the node, index in it).
        channels: what it counts.
    """

    node: str
    place: str | tuple[int, int]
    channels: np.ndarray


class Node:
    """A node with its attributes as Python values."""

    def __init__(self, proto: onnx.NodeProto) -> None:
        self.proto = proto
        self.name, self.op_type, self.domain = proto.name, proto.op_type, proto.domain
        self.inputs, self.outputs = tuple(proto.input), tuple(proto.output)

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        return {attribute.name: helper.get_attribute_value(attribute) for attribute in self.proto.attribute}

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
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.channels = Channels()
        self.views: dict[str, View] = {}
        self.bound: dict[str, list[dict[int, np.ndarray]]] = defaultdict(list)
        self.edits: list[Edit] = []
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
        """Notes that a node reads a constant with these channels along its axes."""
        self.bound[name].append(dict(axes))

    def fix(self, names: Sequence[str | None], reason: str) -> None:
        """Fixes the channels of tensors."""
        for name in names:
            view = self.view(name)
            if view is not None:
                self.channels.fix(view.channels, reason)


def _shape(shape: onnx.TensorShapeProto) -> Shape:
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in shape.dim)
