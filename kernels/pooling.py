"""Pooling of NHWC images in float32, with the rules of ONNX's MaxPool, AveragePool and GlobalAveragePool.

``kernel``, ``stride`` and ``dilation`` are one number or (height, width), ``padding`` also (top, left, bottom, right).
What the functions share: x (n, h, w, c) is copied first where it is not contiguous; ``out`` must be, and is made where
it is None. ``isa`` is one of ``kernels.available_isas()``, None the best. ``threads`` is how many threads of the shared
pool may take part, the caller included; small images keep to the calling thread. The GIL is released. All raise

    TypeError: an argument is no float32 array.
    ValueError: a wrong shape or size, padding that is not smaller than the kernel, images smaller than the kernel, an
        ISA that this CPU lacks, or ``out`` overlaps x.
"""

from __future__ import annotations

import numpy as np

from kernels import _native
from kernels.sizes import Sizes, four_sides, pair


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
) -> np.ndarray:
    """The largest value of each window and channel: (n, oh, ow, c).

    Windows lie ``stride`` (None: ``kernel``) apart. With ``ceil_mode`` there is one more at the end of an axis where it
    begins within the image (or the padding before it). Padding never is the largest; a dilated window that meets
    padding only is ``-inf``. A window with a NaN is NaN, where ONNX Runtime's answer depends on the NaN's place.
    """
    stride = kernel if stride is None else stride
    return _native.max_pool2d(
        x,
        pair("kernel", kernel),
        pair("stride", stride),
        four_sides(padding),
        pair("dilation", dilation),
        ceil_mode,
        out,
        isa,
        threads,
    )


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
) -> np.ndarray:
    """The mean of each window and channel: (n, oh, ow, c). Windows as for :func:`max_pool2d`.

    The mean is over the pixels of the image; with ``count_include_pad`` over those of the padding too, which are zero,
    but not over what ``ceil_mode`` reaches behind the padding.
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


def global_avg_pool2d(
    x: np.ndarray, out: np.ndarray | None = None, isa: str | None = None, threads: int = 1
) -> np.ndarray:
    """The mean of each image and channel: (n, 1, 1, c)."""
    return _native.global_avg_pool2d(x, out, isa, threads)
