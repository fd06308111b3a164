"""The inputs and outputs of a model, and the check of the arrays that are passed to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# The types that numpy supports natively and DLPack can export.
DTYPES = (
    *("float32", "float16", "float64", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
)
# The type of a value that only segments of ONNX Runtime use: strings, a sequence, an optional value.
OPAQUE = "object"


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        dtype: a numpy type name, or ``OPAQUE``.
        shape: a dimension that depends on data is -1.

    Raises:
        ValueError: ``dtype`` is not one of ``DTYPES`` or ``OPAQUE``.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in (*DTYPES, OPAQUE):
            raise ValueError(f"{self.name} is {self.dtype}; a model's inputs and outputs must be {', '.join(DTYPES)}")

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TensorSpec:
        return cls(fields["name"], fields["dtype"], tuple(fields["shape"]))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}{'' if self.dtype == OPAQUE else list(self.shape)}"


def checked(given: Any, specs: Sequence[TensorSpec]) -> list[Any]:
    """Returns the arrays of a dict by name, contiguous and in the order of ``specs``.

    Raises:
        ValueError: a missing or unknown name, or an array of the wrong shape.
        TypeError: not a dict, a value that is not an array, or an array of the wrong type.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"inputs must be a dict of arrays by name, got {type(given).__name__}")
    names = {spec.name for spec in specs}
    if set(given) != names:
        missing, unknown = sorted(names - set(given)), sorted(map(str, set(given) - names))
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(unknown)} unknown"] if unknown else []
        raise ValueError(f"inputs: {'; '.join(wrong)}; the model takes {', '.join(map(str, specs))}")
    return [_checked(given[spec.name], spec) for spec in specs]


def _checked(value: Any, spec: TensorSpec) -> Any:
    if spec.dtype == OPAQUE:
        return value
    if not isinstance(value, np.ndarray):
        raise TypeError(f"input {spec.name} must be a numpy array, got {type(value).__name__}")
    if value.dtype != spec.dtype:
        raise TypeError(f"input {spec.name} must be {spec.dtype}, got {value.dtype}")
    if value.shape != spec.shape:
        raise ValueError(f"input {spec.name} must have shape {spec.shape}, got {value.shape}")
    if not value.flags.c_contiguous or not value.flags.writeable:
        return value.copy()  # DLPack cannot export read-only arrays
    return value
