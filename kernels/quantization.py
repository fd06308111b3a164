"""What the integers of an int8 layer stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Integers(NamedTuple):
    """A matrix of 8-bit integers that stand for the real numbers ``scale * (integer - zero_point)``.

    Attributes:
        dtype: ``"uint8"`` or ``"int8"``.
        scale: positive and finite.
        zero_point: an integer of the dtype.
    """

    dtype: str
    scale: float
    zero_point: int = 0


@dataclass(frozen=True)
class Quantization:
    """The scales of a layer with weights of int8, which have the zero point 0.

    Sums of products are exact, in int32. They become float32 for bias, residual and activation. Integers of the output
    are rounded to nearest, ties to even, and saturated; NaN becomes the least.

    Attributes:
        weight: scales of the weights, (n,) of float32, one per output channel.
        x: of the input; None: the input is float32, and each call quantizes it to uint8 by its range, as ONNX's
            DynamicQuantizeLinear does.
        floats: whether the input is float32, and each call quantizes it as ``x`` says, as ONNX's QuantizeLinear does.
        out: of the output; None: the output is float32.
        residual: of the residual; None: it is float32.
        sum: integers to which sums with bias are rounded, and from which they become float32 again, before the residual
            is added; None: sums are not rounded.
    """

    weight: np.ndarray
    x: Integers | None = None
    floats: bool = False
    out: Integers | None = None
    residual: Integers | None = None
    sum: Integers | None = None


def native_quantization(quantization: Any) -> Any:
    """Returns the form that the native layers take of a :class:`Quantization` or None."""
    if quantization is None:
        return None
    if not isinstance(quantization, Quantization):
        raise TypeError(f"quantization must be a kernels.Quantization, got {type(quantization).__name__}")
    q = quantization
    return q.weight, q.x, q.floats, q.out, q.residual, q.sum
