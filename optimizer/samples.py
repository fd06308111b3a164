"""Samples of a model's inputs, on which it is calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from optimizer.data import LABELS
from optimizer.graphs import inputs_of

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Samples:
    """Batches of a model's inputs.

    Attributes:
        arrays: by the name of the input; the first axis counts samples.
        batch: the samples of one run.
    """

    arrays: Arrays
    batch: int

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Yields the inputs of each run."""
        for begin in range(0, len(self), self.batch):
            yield {name: array[begin : begin + self.batch] for name, array in self.arrays.items()}


def fitting(arrays: Arrays, model: onnx.ModelProto) -> Samples:
    """Returns the samples of a model's inputs.

    An array has the shape of the input, but any size in the first axis, which counts samples: as many as the model
    takes at once, or a multiple. Labels are left out, unless the model has an input of their name.

    Raises:
        ValueError: the arrays do not fit the inputs of the model; the message is one line.
    """
    inputs = inputs_of(model)
    names = [value.name for value in inputs]
    arrays = {name: array for name, array in arrays.items() if name != LABELS or name in names}
    if not arrays:
        raise ValueError("there are no samples")
    for which, odd in (("lack", set(names) - set(arrays)), ("have", set(arrays) - set(names))):
        if odd:
            raise ValueError(f"the samples {which} {', '.join(sorted(odd))}; the model has {', '.join(names)}")
    sizes = {}
    for value in inputs:
        sizes[value.name] = _check(value, np.asarray(arrays[value.name]))
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        each = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"all inputs must have as many samples as the others, got {each}")
    batches = {size for size in sizes.values() if size is not None} or {1}
    if len(batches) != 1:
        raise ValueError("the first axes of the model's inputs differ, so they do not count samples")
    batch, count = batches.pop(), counts.pop()
    if count == 0 or count % batch:
        raise ValueError(f"the model takes {batch} samples at once, which must divide their number, {count}")
    return Samples({name: np.asarray(arrays[name]) for name in names}, batch)


def _check(value: onnx.ValueInfoProto, array: np.ndarray) -> int | None:
    """Checks the array of an input, and returns the first size of the input; None if any is legal."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ValueError(f"input {value.name} is not a tensor")
    wanted = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if array.dtype != wanted:
        raise ValueError(f"the samples of {value.name} must be {wanted}, got {array.dtype}")
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if not shape:
        raise ValueError(f"input {value.name} is a scalar, which has no axis of samples")
    fits = array.ndim == len(shape) and all(
        size in (None, given) for size, given in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        sizes = ", ".join("any" if size is None else str(size) for size in ["samples", *shape[1:]])
        raise ValueError(f"the samples of {value.name} must have the shape ({sizes}), got {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"the samples of {value.name} have NaN or infinite values")
    return shape[0]
