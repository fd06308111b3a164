"""The transposed two-dimensional convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels import _native
from kernels.machine_model import MachineModel, native_of
from kernels.packed_layer import PackedLayer
from kernels.sizes import Sizes, pair, window


class ConvTranspose2d(PackedLayer[_native.ConvTranspose2d]):
    """``y = activation(conv_transpose2d(x, weight) + bias + residual)`` on NHWC images of float32.

    Along each axis, ``y`` has ``(size - 1) * stride + dilation * (k - 1) + 1 + output_padding`` pixels without padding.
    The padding cuts off pixels on each side.

    Args:
        weight: (c, o / groups, kh, kw), the layout of ``torch.nn.ConvTranspose2d``. It is copied.
        bias: (o,), or None. It is copied.
        stride: one number, or (height, width); their product is at most 4096.
        padding: one number, (height, width), or (top, left, bottom, right).
        output_padding: pixels that are added at the bottom and on the right: one number, or (height, width).
        dilation: one number, or (height, width).
        groups: output channel j of o reads the c / groups channels of group ``j // (o / groups)``.
        activation: as for :class:`kernels.Dense`.
        isa: one of ``kernels.available_isas()``; None selects the best.
        threads: the number of threads of the shared pool, the caller included.
        width: of the images for which the register tile is chosen; others are computed too.
        machine: the costs from which the register tile follows; None means those of this CPU.
        slopes: (o,), as for :class:`kernels.Dense`.

    Raises:
        TypeError: an argument is not an array of float32.
        ValueError: a shape or size is wrong, this CPU lacks the ISA, or the activation is unknown.
    """

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        activation: str | None = None,
        isa: str | None = None,
        threads: int = 1,
        width: int = 56,
        machine: MachineModel | None = None,
        slopes: np.ndarray | None = None,
    ) -> None:
        self._native = _native.ConvTranspose2d(
            weight,
            bias,
            *window(stride, padding, dilation),
            groups,
            pair("output_padding", output_padding),
            activation,
            slopes,
            isa,
            threads,
            width,
            native_of(machine),
        )

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Computes (n, oh, ow, o) from x (n, h, w, c). Returns ``out`` if given, otherwise a new array.

        x and residual are copied if they are not contiguous; ``out`` must be contiguous. ``residual`` has the shape of
        the output and may be the same array as ``out``. Calls from several threads are safe. The GIL is released.

        Raises:
            TypeError: an argument is not an array of float32.
            ValueError: a shape is wrong, the padding leaves no output, or arrays overlap.
        """
        return self._native(x, out, residual)

    def evict_weights(self, *_sizes: int) -> None:
        """Evicts the weights from all caches, for measurements: in a network, other layers do."""
        self._native.evict_weights()

    def schedule(self, *_sizes: int) -> dict[str, Any]:
        """Returns no values: there is nothing to schedule."""
        return {}
