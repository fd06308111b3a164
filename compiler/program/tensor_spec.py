"""What a model takes and gives, and the check of what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Those that numpy has of its own, and DLPack hands on.
DTYPES = (
    *("float32", "float16", "float64", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of the model's: ``dtype`` is numpy's name of it.

    Raises:
        ValueError: it is none of ``DTYPES``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"{self.name} is {self.dtype}; a model's inputs and outputs may be {', '.join(DTYPES)}")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TensorSpec:
        return cls(fields["name"], fields["dtype"], tuple(fields["shape"]))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


def checked(given: Any, specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """The arrays of a dict by name, in the order of ``specs`` and contiguous.

    Raises:
        ValueError: a name that is missing or too many, or an array of another shape.
        TypeError: no dict, something that is no array, or an array of another type.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"inputs must be a dict of arrays by name, got {type(given).__name__}")
    names = {spec.name for spec in specs}
    if set(given) != names:
        missing, strange = sorted(names - set(given)), sorted(map(str, set(given) - names))
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(strange)} unknown"] if strange else []
        raise ValueError(f"inputs: {'; '.join(wrong)}; the model takes {', '.join(map(str, specs))}")
    return [_checked(given[spec.name], spec) for spec in specs]


def _checked(value: Any, spec: TensorSpec) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"input {spec.name} must be a numpy array, got {type(value).__name__}")
    if value.dtype != spec.dtype:
        raise TypeError(f"input {spec.name} must be {spec.dtype}, got {value.dtype}")
    if value.shape != spec.shape:
        raise ValueError(f"input {spec.name} must have shape {spec.shape}, got {value.shape}")
    if not value.flags.c_contiguous or not value.flags.writeable:
        return value.copy()  # DLPack hands on no read-only array
    return value
