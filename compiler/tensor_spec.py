"""What a model takes and gives, and the check of what it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of the model's: ``dtype`` is numpy's name of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TensorSpec:
        return cls(fields["name"], fields["dtype"], tuple(fields["shape"]))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{list(self.shape)}"


def checked(given: Mapping[str, Any], specs: Sequence[TensorSpec]) -> list[np.ndarray]:
    """The arrays in the order of ``specs``, contiguous.

    Raises:
        ValueError: a name that is missing or too many, or an array of another shape.
        TypeError: something that is no array, or an array of another type.
    """
    names = {spec.name for spec in specs}
    if given.keys() != names:
        missing, strange = sorted(names - given.keys()), sorted(given.keys() - names)
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(map(str, strange))} unknown"] if strange else []
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
