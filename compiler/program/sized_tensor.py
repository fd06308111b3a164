"""Inputs and outputs whose sizes vary from run to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.program.tensor_spec import TensorSpec
from compiler.sizes.expression import Expression, evaluated, read, written
from compiler.sizes.size import Size


@dataclass(frozen=True)
class SizedTensor:
    """An input or output.

    Attributes:
        dtype: as in :class:`compiler.program.tensor_spec.TensorSpec`.
        shape: numbers and expressions of sizes.
    """

    name: str
    dtype: str
    shape: tuple[int | Expression, ...]

    def at(self, sizes: Mapping[str, int]) -> TensorSpec:
        return TensorSpec(self.name, self.dtype, tuple(evaluated(list(self.shape), sizes)))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": written(self.shape)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any], sizes: Sequence[Size]) -> SizedTensor:
        """The inverse of :meth:`to_json`, with the sizes that the shape may have.

        Raises:
            ValueError: an entry is not valid.
        """
        shape = read(fields["shape"], [size.name for size in sizes])
        smallest = {size.name: size.values[0] for size in sizes}
        TensorSpec.from_json({**fields, "shape": evaluated(shape, smallest)})  # checks the rest
        return cls(fields["name"], fields["dtype"], tuple(shape))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join(map(str, self.shape))}]"


def sizes_of(given: Any, inputs: Sequence[SizedTensor], sizes: Sequence[Size]) -> dict[str, int]:
    """Returns the sizes that the shapes of arrays by name have.

    Arrays that are missing, or whose number of dimensions is wrong, are left to the check of a program for these sizes.

    Raises:
        ValueError: a size is out of its range, or differs between two dimensions.
    """
    arrays = given.items() if isinstance(given, Mapping) else ()
    found = sizes_in({name: array.shape for name, array in arrays if isinstance(array, np.ndarray)}, inputs, sizes)
    return {size.name: found.get(size.name, size.values[0]) for size in sizes}


def sizes_in(
    shapes: Mapping[str, tuple[int, ...]], inputs: Sequence[SizedTensor], sizes: Sequence[Size]
) -> dict[str, int]:
    """Returns the sizes in shapes of some inputs; see :func:`sizes_of`."""
    found: dict[str, int] = {}
    where: dict[str, str] = {}
    ranges = {size.name: size for size in sizes}
    for tensor in inputs:
        shape = shapes.get(tensor.name, ())
        if len(shape) != len(tensor.shape):
            continue
        for axis, (dim, value) in enumerate(zip(tensor.shape, shape, strict=True)):
            if not isinstance(dim, Expression):
                continue
            name = str(dim)
            place = f"dimension {axis} of input {tensor.name}"
            if value not in ranges[name].values:
                raise ValueError(f"{place} is {value}; {name} may be {ranges[name]}")
            if found.setdefault(name, value) != value:
                raise ValueError(f"{name} is {found[name]} in {where[name]}, and {value} in {place}")
            where.setdefault(name, place)
    return {size.name: found[size.name] for size in sizes if size.name in found}
