"""The two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from kernels import _native
from kernels.machine_model import MachineModel, native_of
from kernels.packed_layer import PackedLayer
from kernels.quantization import Quantization, native_quantization
from kernels.schedule import schedule_values
from kernels.sizes import Sizes, window

_Pair: TypeAlias = tuple[int, int]
_Four: TypeAlias = tuple[int, int, int, int]
_Arguments: TypeAlias = tuple[int, int, int, int, int, _Pair, _Pair, _Four, _Pair, int]


class Conv2d(PackedLayer[_native.Conv2d]):
    """``y = activation(conv2d(x, weight) + bias + residual)`` on NHWC images.

    The type of the weight, float32, bfloat16 or int8, is the type of the layer, as for :class:`kernels.Dense`. Padding
    stands for the number zero.

    Args:
        weight: (o, c / groups, kh, kw), the layout of ``torch.nn.Conv2d``. It is copied.
        bias: (o,) of float32, or None. It is copied.
        stride: one number, or (height, width).
        padding: zeros around the image: one number, (height, width), or (top, left, bottom, right).
        dilation: one number, or (height, width).
        groups: output channel j of o reads the c / groups channels of group ``j // (o / groups)``.
        activation: as for :class:`kernels.Dense`.
        isa: one of ``kernels.available_isas()``; None selects the best.
        threads: the number of threads of the shared pool, the caller included.
        schedule: a mapping as returned by :meth:`schedule`, or an object with such a mapping as the attribute
            ``values``. None uses the default for the shape of the images. Weights are packed by the constructor if a
            schedule is given, otherwise by the first call.
        machine: the costs from which default schedules follow; None means those of this CPU.
        slopes: (o,), as for :class:`kernels.Dense`.
        quantization: as for :class:`kernels.Dense`.

    Winograd's algorithm, which schedules can select and the default uses if it is faster, rounds differently;
    ``kernels/cpp/README.md`` has its measured error.

    Raises:
        TypeError: an argument is not an array of these types.
        ValueError: a shape or size is wrong, this CPU lacks the ISA or type, the activation is unknown, or the schedule
            is illegal.
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: Sizes = 1,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        activation: str | None = None,
        isa: str | None = None,
        threads: int = 1,
        schedule: Mapping[str, Any] | Any | None = None,
        machine: MachineModel | None = None,
        slopes: np.ndarray | None = None,
        quantization: Quantization | None = None,
    ) -> None:
        self._native = _native.Conv2d(
            weight,
            bias,
            *window(stride, padding, dilation),
            groups,
            activation,
            slopes,
            native_quantization(quantization),
            isa,
            threads,
            schedule_values(schedule),
            native_of(machine),
        )

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Computes (n, oh, ow, o) from x (n, h, w, c). Returns ``out`` if given, otherwise a new array.

        x and residual are copied if they are not contiguous; ``out`` must be contiguous. ``residual`` has the shape of
        the output and may be the same array as ``out``. Types are as for :class:`kernels.Dense`. Calls from several
        threads are safe. The GIL is released.

        Raises:
            TypeError: an argument is not an array of these types.
            ValueError: a shape is wrong, the images are smaller than the kernel, or arrays overlap.
        """
        return self._native(x, out, residual)

    def evict_weights(self, n: int, h: int, w: int) -> None:
        """Evicts the weights that a call with images (n, h, w, c) reads from all caches.

        This is for measurements: in a network, other layers evict the weights between two runs of a layer.
        """
        self._native.evict_weights(n, h, w)

    def schedule(self, n: int, h: int, w: int) -> dict[str, Any]:
        """Returns the schedule that a call with images (n, h, w, c) uses.

        A 1×1 kernel without stride and padding has the schedule of a dense layer
        (:func:`kernels.default_dense_schedule`).

        A depthwise convolution in float32 or of 8-bit integers has ``columns``, the number of adjacent pixels of an
        output row that are computed together, in strips down the image; ``channels``, the number of channels of a
        strip; and ``threads``, the numbers of parts of the rows and of the channels: each rectangle of the output has a
        thread.

        Other convolutions have ``algorithm``, ``"direct"`` or ``"winograd2"``, 3 or 4 (the number of outputs of a tile
        per side); ``mr`` and ``nr``, the register tile; ``rows``, the number of output rows (direct) or tiles
        (Winograd) for which all channels are computed at a time; ``kc``, the block of the sum (direct); ``prefetch``,
        the prefetch distance of the weights in bytes; ``prefetch_next``, whether the next panel of weights is
        prefetched; and ``threads``, the numbers of parts of the pixels and of the channels.
        """
        return self._native.schedule(n, h, w)


def default_conv2d_schedule(
    images: tuple[int, int, int, int],
    weight_shape: tuple[int, int, int, int],
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    isa: str,
    threads: int = 1,
    dtype: str = "float32",
    fast: bool = True,
    machine: MachineModel | None = None,
) -> dict[str, Any]:
    """Returns the default schedule of :class:`Conv2d` (see :meth:`Conv2d.schedule`) for images (n, h, w, c).

    ``weight_shape`` is OIHW. ``fast`` allows the algorithms of Winograd and Strassen, which round more. ``machine`` has
    the costs that the schedule follows from; None means those of this CPU.

    Raises:
        ValueError: a size is wrong, or this CPU lacks the ISA or dtype.
    """
    arguments = _arguments(images, weight_shape, stride, padding, dilation, groups)
    return _native.default_conv2d_schedule(*arguments, isa, threads, dtype, fast, native_of(machine))


def default_convolution_cycles(
    images: tuple[int, int, int, int],
    weight_shape: tuple[int, int, int, int],
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
    *,
    isa: str,
    threads: int = 1,
    dtype: str = "float32",
    fast: bool = True,
    machine: MachineModel | None = None,
) -> float:
    """Returns the cycles that the machine model predicts for the default schedule.

    The arguments are those of :func:`default_conv2d_schedule`.

    Raises:
        ValueError: a size is wrong, this CPU lacks the ISA or dtype, or the convolution is pointwise or depthwise.
    """
    arguments = _arguments(images, weight_shape, stride, padding, dilation, groups)
    return _native.default_convolution_cycles(*arguments, isa, threads, dtype, fast, native_of(machine))


def _arguments(
    images: tuple[int, int, int, int],
    weight_shape: tuple[int, int, int, int],
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> _Arguments:
    n, h, w, channels = images
    o, c, kh, kw = weight_shape
    if channels != c * groups:
        raise ValueError(f"images must have {c * groups} channels for this weight, got {channels}")
    return n, h, w, c, o, (kh, kw), *window(stride, padding, dilation), groups
