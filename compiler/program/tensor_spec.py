"""The inputs and outputs of a model, and the check of the arrays that are passed to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Comparing with it takes a tenth of the time of comparing with the name."""
        return np.dtype(self.dtype)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> TensorSpec:
        name, shape = fields["name"], fields["shape"]
        if type(name) is not str or type(shape) is not list or not all(type(n) is int and n >= -1 for n in shape):
            raise ValueError(f"a tensor has name {name!r} and shape {shape!r}")
        return cls(name, fields["dtype"], tuple(shape))

    def __str__(self) -> str:
        return f"{self.name}: {'strings or a sequence' if self.dtype == OPAQUE else f'{self.dtype}{list(self.shape)}'}"


def checked(given: Any, specs: Sequence[TensorSpec]) -> list[Any]:
    """Returns the arrays of a dict by name, contiguous and in the order of ``specs``.

    An input of rank 0 may also be a number of NumPy of its type, or a number of Python: a bool for bool, an int for
    integers that hold it, an int or a float for floating-point types, to which it is rounded.

    Raises:
        ValueError: a missing or unknown name, an array of the wrong shape, or a number that the type does not hold.
        TypeError: not a dict, a value that is not an array, or an array of the wrong type.
    """
    if type(given) is not dict and not isinstance(given, Mapping):
        raise TypeError(f"inputs must be a dict of arrays by name, got {type(given).__name__}")
    if len(given) != len(specs) or not all(spec.name in given for spec in specs):
        names = {spec.name for spec in specs}
        missing, unknown = sorted(names - set(given)), sorted(map(str, set(given) - names))
        wrong = [f"{', '.join(missing)} missing"] if missing else []
        wrong += [f"{', '.join(unknown)} unknown"] if unknown else []
        raise ValueError(f"inputs: {'; '.join(wrong)}; the model takes {', '.join(map(str, specs))}")
    return [_checked(given[spec.name], spec) for spec in specs]


def _checked(value: Any, spec: TensorSpec) -> Any:
    if spec.dtype == OPAQUE:
        return _opaque(value, spec)
    if spec.shape == () and not isinstance(value, np.ndarray):
        value = _scalar(value, spec)
    if not isinstance(value, np.ndarray):
        form = "a numpy array" if spec.shape else f"a number or array of type {spec.dtype}"
        raise TypeError(f"input {spec.name} must be {form}, got {type(value).__name__}")
    if value.dtype != spec.numpy_dtype:
        raise TypeError(f"input {spec.name} must be {spec.dtype}, got {value.dtype}")
    if value.shape != spec.shape:
        raise ValueError(f"input {spec.name} must have shape {spec.shape}, got {value.shape}")
    flags = value.flags
    return value if flags.c_contiguous and flags.writeable else value.copy()  # DLPack cannot export read-only arrays


def _opaque(value: Any, spec: TensorSpec) -> Any:
    """Returns a value for segments. ONNX Runtime checks its type, but not the layout of an array's elements."""
    for array in value if isinstance(value, (list, tuple)) else [value]:
        if not isinstance(array, np.ndarray):
            continue
        if array.dtype.kind in "SV":  # ONNX Runtime would read beyond its end
            raise TypeError(f"input {spec.name} must have strings, as an array of str or object, got {array.dtype}")
        if not array.dtype.isnative:
            raise TypeError(f"input {spec.name} must have the byte order of this CPU, got {array.dtype}")
    if isinstance(value, np.ndarray) and not (value.flags.c_contiguous and value.flags.writeable):
        return value.copy()
    return value


def _scalar(value: Any, spec: TensorSpec) -> Any:
    """Returns a number of NumPy as an array, and a number of Python if the input's type holds it; else the value."""
    if isinstance(value, np.generic):
        return np.asarray(value)
    kind = np.dtype(spec.dtype).kind
    if isinstance(value, bool):
        return np.asarray(value) if kind == "b" else value
    if isinstance(value, int) and kind in "iu":
        limits = np.iinfo(spec.dtype)
        if not limits.min <= value <= limits.max:
            raise ValueError(f"input {spec.name} must be {spec.dtype}, which does not hold {value}")
        return np.asarray(value, spec.dtype)
    if isinstance(value, (int, float)) and kind == "f":
        largest = float(np.finfo(spec.dtype).max)
        if not -largest <= value <= largest and abs(value) != math.inf and value == value:
            raise ValueError(f"input {spec.name} must be {spec.dtype}, which does not hold {value}")
        return np.asarray(value, spec.dtype)
    return value


def checked_out(out: Any, specs: Sequence[TensorSpec], inputs: Iterable[Any]) -> Mapping[str, np.ndarray]:
    """Returns the arrays that receive all or some outputs, by name.

    Raises:
        ValueError: an unknown name, or an array of the wrong shape, that is not contiguous or writeable, or that
            overlaps an input or another one.
        TypeError: not a dict, a value that is not an array, or an array of the wrong type.
    """
    if out is None:
        return {}
    if not isinstance(out, Mapping):
        raise TypeError(f"out must be a dict of arrays by name, got {type(out).__name__}")
    by_name = {spec.name: spec for spec in specs}
    if unknown := [str(name) for name in out if name not in by_name]:
        raise ValueError(f"out: {', '.join(unknown)} unknown; the model returns {', '.join(map(str, specs))}")
    others = [("an input", array) for array in inputs if isinstance(array, np.ndarray)]
    for name, array in out.items():
        _check_out(array, by_name[name])
        for what, other in others:
            if _overlap(array, other):
                raise ValueError(f"out for {name} overlaps {what}")
        others.append((f"that for {name}", array))
    return out


def _check_out(array: Any, spec: TensorSpec) -> None:
    if spec.dtype == OPAQUE:
        raise ValueError(f"out for {spec.name} is not possible: it is not a tensor of numbers; leave it out")
    if -1 in spec.shape:
        raise ValueError(f"out for {spec.name} is not possible: its size depends on data; leave it out")
    if not isinstance(array, np.ndarray):
        raise TypeError(f"out for {spec.name} must be a numpy array, got {type(array).__name__}")
    if array.dtype != spec.dtype:
        raise TypeError(f"out for {spec.name} must be {spec.dtype}, got {array.dtype}")
    if array.shape != spec.shape:
        raise ValueError(f"out for {spec.name} must have shape {spec.shape}, got {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"out for {spec.name} must be contiguous (C order)")
    if not array.flags.writeable:
        raise ValueError(f"out for {spec.name} must be writeable")


def _overlap(one: np.ndarray, other: np.ndarray) -> bool:
    limit: Any = 1000  # candidate solutions; the exact answer may need exponentially many
    try:
        return np.shares_memory(one, other, max_work=limit)
    except np.exceptions.TooHardError:
        return True
