"""Images in the layout of the kernels."""

from __future__ import annotations

import numpy as np

from kernels import _native
from kernels.quantization import Integers
from kernels.timed import timed


@timed
def channels_last(
    x: np.ndarray,
    integers: Integers | None = None,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """Images of float32, x (n, c, h, w) of up to 4 channels, with their channels last: (n, h, w, c).

    With ``integers``, they are rounded to them as by ONNX's QuantizeLinear; NaN becomes the least. ``out`` must be
    contiguous; None allocates it. ``isa`` and ``threads`` are as for :func:`kernels.max_pool2d`.

    Raises:
        TypeError: x is not float32, or ``out`` has another type than the result.
        ValueError: x has another shape, the scale or the zero point is not legal, this CPU lacks the ISA, or ``out``
            overlaps x.
    """
    return _native.channels_last(x, integers, out, isa, threads)
