"""Which dimensions of a model's inputs are one size."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, count
from typing import TYPE_CHECKING, Any, TypeAlias

from compiler.sizes.size import Size

if TYPE_CHECKING:
    import onnx

Shape: TypeAlias = Sequence[int | range]


def has_ranges(input_shapes: Mapping[str, Shape] | None) -> bool:
    return any(isinstance(dim, range) for shape in (input_shapes or {}).values() for dim in shape)


def named_sizes(
    model: str | os.PathLike[str] | onnx.ModelProto, input_shapes: Mapping[str, Shape]
) -> tuple[list[Size], dict[str, tuple[int | str, ...]]]:
    """Returns the sizes that vary, and the shapes with their names in place of ranges.

    Dimensions to which the model gives one name are one size. So are dimensions without a name on the same axis of
    several inputs, with the same range.

    Raises:
        ValueError: a range is not valid, or one size has two.
    """
    names = _dimension_names(model)
    sizes: dict[tuple[str, bool], Size] = {}  # by name, and whether the model gives it
    numbers: dict[str, int] = {}
    shapes: dict[str, tuple[int | str, ...]] = {}

    def size(name: str, known: bool, values: range) -> Size:
        taken = {other.name for other in sizes.values()}
        return sizes.setdefault((name, known), Size(_identifier(name, taken), values))

    for tensor, shape in input_shapes.items():
        if isinstance(shape, range) or not all(isinstance(dim, range) or hasattr(dim, "__index__") for dim in shape):
            raise ValueError(f"the shape of {tensor} is {shape!r}; it must be a tuple of numbers and ranges")
        dims: list[int | str] = []
        for axis, dim in enumerate(shape):
            known = dict(enumerate(names.get(tensor, ()))).get(axis)
            if not isinstance(dim, range):
                dims.append(int(dim))
                if known:
                    numbers[known] = int(dim)
                continue
            found = size(known or f"dimension_{axis}", bool(known), dim)
            if found.values != dim and known:
                raise ValueError(f"{known} is given as {found} and as {Size(known, dim)}")
            if found.values != dim:
                found = size(f"{tensor}_{axis}", False, dim)
            dims.append(found.name)
        shapes[tensor] = tuple(dims)
    for name, number in numbers.items():
        if (name, True) in sizes:
            raise ValueError(f"{name} is given as {sizes[name, True]} and as {number}")
    return list(sizes.values()), shapes


def _dimension_names(model: str | os.PathLike[str] | onnx.ModelProto) -> dict[str, list[str | None]]:
    from graph_passes.freeze_shapes import NAMELESS
    from graph_passes.model_io import read

    def name(dim: Any) -> str | None:
        return None if isinstance(dim, int) or dim.value in NAMELESS else str(dim.value)

    inputs = read(model).graph.inputs
    return {str(value.name): [name(dim) for dim in value.shape or ()] for value in inputs}


def _identifier(name: str, taken: Collection[str]) -> str:
    """Returns the name as an identifier that is not taken."""
    cleaned = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    cleaned = cleaned if cleaned[:1].isalpha() else f"size_{cleaned}"
    others = (f"{cleaned}_{number}" for number in count(2))
    return next(found for found in chain([cleaned], others) if found not in taken)
