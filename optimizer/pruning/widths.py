"""How sizes of weights follow from the numbers of channels that the groups keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import helper

from optimizer.pruning.groups import Groups

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Width:
    """The size of an axis: ``rest``, and for each (group, times) of ``parts`` so many places per channel it keeps."""

    rest: int
    parts: tuple[tuple[int, int], ...] = ()

    def __call__(self, kept: Sequence[int]) -> int:
        """Returns the size; ``kept`` has the number of channels of each group."""
        return self.rest + sum(times * kept[group] for group, times in self.parts)


@dataclass(frozen=True)
class Weight:
    """A constant whose sizes depend on the groups."""

    name: str
    sizes: tuple[Width, ...]

    @property
    def groups(self) -> frozenset[int]:
        return frozenset(group for size in self.sizes for group, _ in size.parts)

    def elements(self, kept: Sequence[int]) -> int:
        return prod(size(kept) for size in self.sizes)


@dataclass(frozen=True)
class Layer:
    """A convolution or product with a constant weight.

    Attributes:
        node: its name.
        weight: its weight.
        positions: multiply-adds per element of the weight: pixels or rows of the output (for ConvTranspose, of the
            input); None if the shape is unknown.
        reads, writes: the numbers of channels; the same for a depthwise convolution.
    """

    node: str
    op_type: str
    weight: Weight
    positions: int | None
    reads: Width
    writes: Width


def weights(model: onnx.ModelProto, groups: Groups) -> tuple[Weight, ...]:
    """Returns all constants of a model with their sizes."""
    owner = {root: index for index, group in enumerate(groups.free) for root in group.roots}
    found = []
    for tensor in model.graph.initializer:
        sizes = []
        for axis, size in enumerate(tensor.dims):
            roots = groups.places.get((tensor.name, axis))
            sizes.append(Width(size) if roots is None else _width(roots, owner, groups))
        found.append(Weight(tensor.name, tuple(sizes)))
    return tuple(found)


def _width(roots: np.ndarray, owner: dict[int, int], groups: Groups) -> Width:
    places = Counter(owner.get(root, -1) for root in roots.tolist())
    rest = places.pop(-1, 0)
    return Width(rest, tuple((group, count // len(groups.free[group])) for group, count in sorted(places.items())))


def layers(model: onnx.ModelProto, found: Sequence[Weight]) -> tuple[Layer, ...]:
    """Returns the convolutions and products of a model in order; ``found`` are its constants."""
    by_name = {weight.name: weight for weight in found}
    shapes = {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    made = []
    for node in model.graph.node:
        if node.op_type not in LAYERS or len(node.input) < 2 or node.input[1] not in by_name:
            continue
        weight = by_name[node.input[1]]
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        reads, writes = weight_axes(node.op_type, attributes)
        if len(weight.sizes) <= max(reads, writes):
            continue
        shape = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
        if attributes.get("group", 1) > 1:  # the channels of a depthwise convolution, or none that may be removed
            channels = weight.sizes[0]
            reads_width = writes_width = channels
        else:
            reads_width, writes_width = weight.sizes[reads], weight.sizes[writes]
        made.append(Layer(node.name, node.op_type, weight, _positions(node.op_type, shape), reads_width, writes_width))
    return tuple(made)


def weight_axes(op_type: str, attributes: Mapping[str, object]) -> tuple[int, int]:
    """Returns the axes of a weight for the channels that are read and written."""
    if op_type == "Conv" or (op_type == "Gemm" and attributes.get("transB", 0)):
        return 1, 0
    return 0, 1


def _positions(op_type: str, shape: list[int | None] | None) -> int | None:
    if shape is None:
        return None
    sizes = shape[:-1] if op_type in ("Gemm", "MatMul") else [shape[0], *shape[2:]]
    sizes = [1 if size is None and place == 0 else size for place, size in enumerate(sizes)]  # of any number of samples
    return None if None in sizes else prod(size for size in sizes if size is not None)
