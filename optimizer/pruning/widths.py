"""How sizes of weights follow from the numbers of channels that the groups keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from optimizer.graphs import attributes_of
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

    def __mul__(self, number: int) -> Width:
        return Width(number * self.rest, tuple((group, number * times) for group, times in self.parts))


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
        groups: of a convolution, whose number stays; 0 if it is depthwise.
    """

    node: str
    op_type: str
    weight: Weight
    positions: int | None
    reads: Width
    writes: Width
    groups: int = 1


@dataclass(frozen=True)
class Product:
    """A product of two tensors that are not constant, as in attention.

    Attributes:
        node: its name.
        parts: equal parts of its multiply-adds, such as those of the heads.
        macs: multiply-adds of one part; None if a shape is unknown.
    """

    node: str
    parts: Width
    macs: int | None


def weights(model: onnx.ModelProto, groups: Groups) -> tuple[Weight, ...]:
    """Returns all constants of a model with their sizes."""
    owner = _owners(groups)
    found = []
    for tensor in model.graph.initializer:
        sizes = []
        for axis, size in enumerate(tensor.dims):
            roots = groups.places.get((tensor.name, axis))
            sizes.append(Width(size) if roots is None else _width(roots, owner, groups))
        found.append(Weight(tensor.name, tuple(sizes)))
    return tuple(found)


def products(model: onnx.ModelProto, groups: Groups) -> tuple[Product, ...]:
    """Returns the products of tensors that are not constant and have channels, in order."""
    owner, shapes = _owners(groups), _shapes(model)
    made = []
    for node in model.graph.node:
        if (roots := groups.products.get(node.name)) is not None:
            sizes = [*shapes.get(node.output[0], [None]), shapes.get(node.input[0], [None])[-1]]
            sizes = [1 if size is None and place == 0 else size for place, size in enumerate(sizes)]
            macs = None if None in sizes else prod(size or 0 for size in sizes) // len(roots)
            made.append(Product(node.name, _width(roots, owner, groups), macs))
    return tuple(made)


def _owners(groups: Groups) -> dict[int, int]:
    return {root: index for index, group in enumerate(groups.free) for root in group.roots}


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    return {
        value.name: [dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def _width(roots: np.ndarray, owner: dict[int, int], groups: Groups) -> Width:
    places = Counter(owner.get(root, -1) for root in roots.tolist())
    rest = places.pop(-1, 0)
    return Width(rest, tuple((group, count // len(groups.free[group])) for group, count in sorted(places.items())))


def layers(model: onnx.ModelProto, found: Sequence[Weight]) -> tuple[Layer, ...]:
    """Returns the convolutions and products of a model in order; ``found`` are its constants."""
    by_name = {weight.name: weight for weight in found}
    dims = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    shapes = _shapes(model)
    made = []
    for node in model.graph.node:
        if node.op_type not in LAYERS or len(node.input) < 2 or node.input[1] not in by_name:
            continue
        weight = by_name[node.input[1]]
        attributes = attributes_of(node)
        reads, writes = weight_axes(node.op_type, attributes)
        if len(weight.sizes) <= max(reads, writes):
            continue
        shape = shapes.get(node.input[0] if node.op_type == "ConvTranspose" else node.output[0])
        count = attributes.get("group", 1)
        read, written = weight.sizes[reads], weight.sizes[writes]
        if is_depthwise(node.op_type, attributes, dims[weight.name]):
            count, read, written = 0, weight.sizes[0], weight.sizes[0]
        elif node.op_type == "Conv":  # axis 1 has the channels of one group
            read *= count
        else:
            written *= count
        positions = _positions(node.op_type, shape)
        made.append(Layer(node.name, node.op_type, weight, positions, read, written, count))
    return tuple(made)


def is_depthwise(op_type: str, attributes: Mapping[str, Any], dims: Sequence[int]) -> bool:
    """Returns whether a layer is a convolution whose groups read one channel each, and keep what becomes of it.

    Args:
        attributes: of its node.
        dims: of its weight.
    """
    count = attributes.get("group", 1)
    return count > 1 and dims[1] == 1 and (op_type == "Conv" or dims[0] == count)


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
