"""Which dimensions of a model's inputs are one size."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
    sizes: dict[str, Size] = {}
    shapes: dict[str, tuple[int | str, ...]] = {}
    for tensor, shape in input_shapes.items():
        dims: list[int | str] = []
        for axis, dim in enumerate(shape):
            if not isinstance(dim, range):
                dims.append(int(dim))
                continue
            known = dict(enumerate(names.get(tensor, ()))).get(axis)
            name = _identifier(known or f"dimension_{axis}")
            size = sizes.setdefault(name, Size(name, dim))
            if size.values != dim and known:
                raise ValueError(f"{known} is given as {size} and as {Size(name, dim)}")
            if size.values != dim:
                name = _identifier(f"{tensor}_{axis}")
                sizes[name] = Size(name, dim)
            dims.append(name)
        shapes[tensor] = tuple(dims)
    return list(sizes.values()), shapes


def _dimension_names(model: str | os.PathLike[str] | onnx.ModelProto) -> dict[str, list[str | None]]:
    from graph_passes.freeze_shapes import NAMELESS
    from graph_passes.model_io import read

    def name(dim: Any) -> str | None:
        return None if isinstance(dim, int) or dim.value in NAMELESS else str(dim.value)

    inputs = read(model).graph.inputs
    return {str(value.name): [name(dim) for dim in value.shape or ()] for value in inputs}


def _identifier(name: str) -> str:
    cleaned = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return cleaned if cleaned[:1].isalpha() else f"size_{cleaned}"
