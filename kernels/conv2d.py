"""The two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from kernels import _native
from kernels.schedule import schedule_values
from kernels.sizes import Sizes, four_sides, pair


class Conv2d:
    """``y = activation(conv2d(x, weight) + bias + residual)`` on NHWC images.

    The weight's type is the layer's, float32 or bfloat16, as for :class:`kernels.Dense`.

    Args:
        weight: (o, c / groups, kh, kw), as ``torch.nn.Conv2d`` keeps it. Copied.
        bias: (o,) of float32, or None. Copied.
        stride: one number, or (height, width).
        padding: zeros around the image: one number, (height, width), or (top, left, bottom, right).
        dilation: one number, or (height, width).
        groups: output channel j of o reads the c / groups channels of group ``j // (o / groups)``.
        activation: as for :class:`kernels.Dense`.
        isa: one of ``kernels.available_isas()``; None takes the best.
        threads: how many threads of the shared pool take part, the caller included.
        schedule: a mapping as :meth:`schedule` returns, or an object whose attribute ``values`` is one; None takes the
            default for the images at hand. Weights are packed here where a schedule is given, else at the first call.

    Winograd's algorithm, which schedules name and the default takes where it is faster, rounds differently: see
    ``kernels/cpp/README.md`` for its measured error.

    Raises:
        TypeError: an argument is no array of these types.
        ValueError: a wrong shape or size, an ISA or a type that this CPU lacks, an unknown activation or an illegal
            schedule.
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
    ) -> None:
        self._native = _native.Conv2d(
            weight,
            bias,
            pair("stride", stride),
            four_sides(padding),
            pair("dilation", dilation),
            groups,
            activation,
            isa,
            threads,
            schedule_values(schedule),
        )

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None, residual: np.ndarray | None = None) -> np.ndarray:
        """Runs on x (n, h, w, c) and returns (n, oh, ow, o): ``out`` where given, else a new array.

        x and residual are copied first where they are not contiguous; ``out`` must be. ``residual`` has the output's
        shape and may be ``out`` itself. Types are as for :class:`kernels.Dense`. Safe to call from several threads; the
        GIL is released.

        Raises:
            TypeError: an argument is no array of these types.
            ValueError: a wrong shape, images smaller than the kernel, or arrays that overlap.
        """
        return self._native(x, out, residual)

    def time(
        self,
        x: np.ndarray,
        out: np.ndarray | None = None,
        residual: np.ndarray | None = None,
        number: int = 1,
        repeat: int = 1,
    ) -> list[float]:
        """``repeat`` samples, each the mean seconds a run over ``number`` runs back to back, without Python between."""
        return self._native.time(x, out, residual, number, repeat)

    def evict_weights(self, n: int, h: int, w: int) -> None:
        """Puts the weights that a call with images (n, h, w, c) reads out of all caches.

        For measuring: between two runs of a layer in a network, the others' weights take its place in the caches.
        """
        self._native.evict_weights(n, h, w)

    def schedule(self, n: int, h: int, w: int) -> dict[str, Any]:
        """The schedule that a call with images (n, h, w, c) uses.

        That of a dense layer (see :func:`kernels.default_dense_schedule`) for 1×1 kernels without stride and padding.

        Where each channel has a kernel of its own, in float32: ``columns`` how many neighbouring pixels of an output
        row are computed together, in strips that go down the image; ``channels`` how many of them a strip has;
        ``threads_m`` how many of the threads split the rows (the rest the channels).

        Else: ``algorithm``, ``"direct"`` or ``"winograd2"``, 3 or 4 (by how many outputs a side a tile makes); ``mr``,
        ``nr`` the register tile; ``rows`` how many output rows (direct) or tiles (Winograd) all channels pass over
        before the next; ``kc`` the block of the sum (direct); ``prefetch`` bytes ahead of the stream of weights,
        ``prefetch_next`` whether the next panel of them is asked for too; ``threads_m`` how many of the threads split
        the pixels (the rest the channels).
        """
        return self._native.schedule(n, h, w)
