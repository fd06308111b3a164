"""Pooling of NHWC images in float32, with the rules of ONNX's MaxPool, AveragePool and GlobalAveragePool.

Maxima are also of 8-bit integers.

``kernel``, ``stride`` and ``dilation`` are one number or (height, width), ``padding`` also (top, left, bottom, right).
All functions copy x (n, h, w, c) if it is not contiguous. ``out`` must be contiguous; None allocates it. ``isa`` is one
of ``kernels.available_isas()``; None selects the best. ``threads`` is the number of threads of the shared pool, the
caller included; small images use only the calling thread. The GIL is released. All functions raise

    TypeError: an argument is not a float32 array, or, for a maximum, one of int8 or uint8.
    ValueError: a shape or size is wrong, the padding is not smaller than the kernel, images are smaller than the
        kernel, this CPU lacks the ISA, or ``out`` overlaps x.

``kernels.max_pool2d.time(number, repeat, x, ...)`` times runs in a native loop (:class:`kernels.timed.TimedFunction`).
"""

from __future__ import annotations

import numpy as np

from kernels import _native
from kernels.sizes import Sizes, four_sides, pair, window
from kernels.timed import timed


@timed
def max_pool2d(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """The largest value of each window and channel: (n, oh, ow, c).

    Windows are ``stride`` apart (None: ``kernel``). With ``ceil_mode`` there is another window at the end of an axis if
    it begins within the image (or the padding before it). Padding is never the largest value; a dilated window over
    only padding gives ``-inf``, or the least integer. A window with a NaN gives NaN; ONNX Runtime's result depends on
    the position of the NaN.
    """
    stride = kernel if stride is None else stride
    return _native.max_pool2d(
        x,
        pair("kernel", kernel),
        *window(stride, padding, dilation),
        ceil_mode,
        out,
        isa,
        threads,
    )


@timed
def avg_pool2d(
    x: np.ndarray,
    kernel: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = False,
    out: np.ndarray | None = None,
    isa: str | None = None,
    threads: int = 1,
) -> _native.FunctionCall:
    """The mean of each window and channel: (n, oh, ow, c). Windows as for :func:`max_pool2d`.

    The mean is over the pixels of the image. With ``count_include_pad`` it includes the padding, which is zero, but not
    positions after the padding that ``ceil_mode`` adds.
    """
    stride = kernel if stride is None else stride
    return _native.avg_pool2d(
        x,
        pair("kernel", kernel),
        pair("stride", stride),
        four_sides(padding),
        ceil_mode,
        count_include_pad,
        out,
        isa,
        threads,
    )


@timed
def global_avg_pool2d(
    x: np.ndarray, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1
) -> _native.FunctionCall:
    """The mean of each image and channel: (n, 1, 1, c)."""
    return _native.global_avg_pool2d(x, out, isa, threads)
