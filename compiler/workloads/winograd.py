"""Winograd's minimal filtering F(m×m, r×r): its matrices, and the error bound of float32 arithmetic.

Y = Aᵀ·[Σ_c (G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A for tiles d of t×t inputs, t = m + r - 1, and Y of m×m outputs, where Aᵀ, G and Bᵀ
follow from t - 1 points and infinity (Toom-Cook). Lavin, Gray: Fast Algorithms for Convolutional Neural Networks (CVPR
2016). A convolution with stride s is a convolution without stride over the s² phases of the image, with r =
ceil(kernel / s) taps per side. With a dilation d, every d-th row and column of the outputs is a convolution without
dilation of every d-th row and column of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.polynomial import polynomial

if TYPE_CHECKING:
    from compiler.workloads.operators.operator import Instance
    from compiler.workloads.workload import Workload

Array = np.ndarray


@dataclass(frozen=True)
class Winograd:
    """One algorithm.

    Attributes:
        kernel: taps per side of the convolution's kernel.
        stride: the stride of the convolution in both directions.
        outputs: m.
        points: the finite points.
        rounds: whether the factors of its products may be rounded to bfloat16. Larger tiles would lose more digits.
    """

    kernel: int
    stride: int
    outputs: int
    points: tuple[float, ...]
    rounds: bool = False

    @property
    def size(self) -> int:
        """t, the width of a tile in inputs of a phase."""
        return len(self.points) + 1

    @property
    def taps(self) -> int:
        """r, the taps of a phase per side."""
        return self.size - self.outputs + 1

    def applies(self, workload: Instance) -> bool:
        """Whether the algorithm computes a convolution in float32 or bfloat16, whose words have two channels."""
        pairs = self.rounds and workload.dtype == "bfloat16" and workload.sizes["c"] % 2 == 0
        return (workload.dtype == "float32" or pairs) and self.fits(workload)

    def fits(self, workload: Instance) -> bool:
        """Whether the kernel, the stride and the groups are those of the algorithm."""
        s = workload.sizes
        return (
            s["kh"] == s["kw"] == self.kernel
            and s["stride_h"] == s["stride_w"] == self.stride
            and (self.stride == 1 or s["dilation_h"] == s["dilation_w"] == 1)
            and s["groups"] == 1
        )

    def tiles(self, workload: Workload) -> int:
        """Returns the number of tiles of all images of a convolution that this algorithm applies to."""
        s = workload.sizes
        n, oh, ow, _ = workload.output_shape
        return n * self._tiles(oh, s["dilation_h"]) * self._tiles(ow, s["dilation_w"])

    def _tiles(self, size: int, dilation: int) -> int:
        """Returns the tiles along an axis. A tile has every ``dilation``-th of the ``size`` outputs."""
        each, rest = divmod(size, dilation)
        return rest * -(-(each + 1) // self.outputs) + (dilation - rest) * -(-each // self.outputs)


_FOUR = (0, 1, -1)
_SIX = (0, 0.625, -0.625, 1.5, -1.5)
# The algorithms of the kernels, by their name in a schedule.
ALGORITHMS: Mapping[str, Winograd] = {
    "winograd2": Winograd(kernel=3, stride=1, outputs=2, points=_FOUR, rounds=True),
    "winograd3": Winograd(kernel=7, stride=2, outputs=3, points=_SIX),
    "winograd4": Winograd(kernel=3, stride=1, outputs=4, points=_SIX),
}


def saving(workload: Instance) -> float:
    """Returns how many times fewer multiplications the best of the algorithms needs for a convolution."""
    offered = [algorithm for algorithm in ALGORITHMS.values() if algorithm.applies(workload)]
    return max(((a.kernel * a.outputs) ** 2 / (a.stride * a.size) ** 2 for a in offered), default=1.0)


_UNIT = float(np.finfo(np.float32).eps) / 2
_DEVIATIONS = 6


class Matrices(NamedTuple):
    """``at`` (m, t), ``g`` (t, r) and ``bt`` (t, t)."""

    at: Array
    g: Array
    bt: Array


def matrices(points: Sequence[float], taps: int) -> Matrices:
    """Returns the matrices of F(m, r) for t - 1 different finite points and r taps, in float64."""
    size = len(points) + 1
    rows = size - taps + 1
    at, g, bt = np.zeros((rows, size)), np.zeros((size, taps)), np.zeros((size, size))
    for i, point in enumerate(points):
        others = [other for j, other in enumerate(points) if j != i]
        bt[i, :-1] = polynomial.polyfromroots(others)
        g[i] = point ** np.arange(taps) / np.prod(point - np.array(others))
        at[:, i] = point ** np.arange(rows)
    bt[-1] = polynomial.polyfromroots(points)
    g[-1, -1] = at[-1, -1] = 1
    return Matrices(at, g, bt)


def phases_of_images(x: Array, stride: int) -> Array:
    """Rearranges (n, s·h, s·w, c) to (n, h, w, s²·c)."""
    n, h, w, c = x.shape
    split = x.reshape(n, h // stride, stride, w // stride, stride, c)
    return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // stride, w // stride, -1)


def phases_of_kernels(weight: Array, stride: int, taps: int) -> Array:
    """Rearranges (o, c, kernel, kernel) to (o, s²·c, r, r), with zeros for missing taps."""
    o, c, kernel, _ = weight.shape
    missing = (0, stride * taps - kernel)
    split = np.pad(weight, [(0, 0), (0, 0), missing, missing]).reshape(o, c, taps, stride, taps, stride)
    return split.transpose(0, 3, 5, 1, 2, 4).reshape(o, -1, taps, taps)


def error_bound(
    x: Array,
    weight: Array,
    pads: tuple[int, int, int, int],
    algorithm: Winograd,
    dilation: tuple[int, int] = (1, 1),
    factor_unit: float = 0.0,
) -> Array:
    """Returns a bound on the float32 error of each output, which about one output in 10⁹ exceeds.

    For x (n, h, w, c), weight (o, c, kernel, kernel) and pads (top, left, bottom, right): (n, oh, ow, o), float64.
    Only algorithms of stride 1 apply with a dilation.

    A worst-case bound is n·u times the algorithm on absolute values, where u = 2⁻²⁴ and n is the number of roundings of
    one product. It is thousands of times the observed error, since roundings have different directions and the
    products of many channels different signs. This bound assumes that roundings are independent with mean zero
    (Higham, Mary: A New Approach to Probabilistic Rounding Error Analysis, SISC 2019), and so are the signs of the
    products, as for random inputs. Then variances add up instead of magnitudes. Tiles are transformed by |G| and |Bᵀ|
    (still the worst case), products are squared, summed over channels and transformed to the outputs by (Aᵀ)². The
    bound is six standard deviations, 6·u·√(n·variance). ``factor_unit`` is the largest relative error of the rounding
    of both transformed factors, if they have a shorter type.
    """
    if dilation == (1, 1):
        return _error_bound(x, weight, pads, algorithm, factor_unit)
    top, left, bottom, right = pads
    padded = np.pad(x, [(0, 0), (top, bottom), (left, right), (0, 0)])
    oh, ow = (size - d * (algorithm.kernel - 1) for size, d in zip(padded.shape[1:3], dilation, strict=True))
    bound = np.empty((len(x), oh, ow, len(weight)))
    rows, columns = dilation
    for i, j in product(range(min(rows, oh)), range(min(columns, ow))):
        bound[:, i::rows, j::columns] = _error_bound(
            padded[:, i::rows, j::columns], weight, (0, 0, 0, 0), algorithm, factor_unit
        )
    return bound


def _error_bound(
    x: Array, weight: Array, pads: tuple[int, int, int, int], algorithm: Winograd, factor_unit: float
) -> Array:
    """Returns the bound of a convolution without dilation."""
    stride, taps = algorithm.stride, algorithm.taps
    at, g, bt = (np.abs(matrix) for matrix in matrices(algorithm.points, taps))
    m, size = at.shape
    n, h, w, _ = x.shape
    top, left, bottom, right = pads
    oh = (h + top + bottom - algorithm.kernel) // stride + 1
    ow = (w + left + right - algorithm.kernel) // stride + 1
    rows, columns = -(-oh // m), -(-ow // m)
    padding = (
        (top, stride * (rows * m + taps - 1) - h - top),
        (left, stride * (columns * m + taps - 1) - w - left),
    )
    padded = np.pad(np.abs(x).astype(np.float64), [(0, 0), *padding, (0, 0)])
    image = phases_of_images(padded, stride)
    kernels = phases_of_kernels(np.abs(weight).astype(np.float64), stride, taps)
    c = image.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(1, 2))
    tiles = windows[:, ::m, ::m].reshape(-1, c, size, size)
    inputs = (bt @ tiles @ bt.T) ** 2
    weights = (g @ kernels @ g.T) ** 2
    products = inputs.transpose(2, 3, 0, 1) @ weights.transpose(2, 3, 1, 0)  # (t, t, tiles, o)
    variance = at**2 @ products.transpose(2, 3, 0, 1) @ at.T**2  # (tiles, o, m, m)
    images = variance.reshape(n, rows, columns, -1, m, m).transpose(0, 1, 4, 2, 5, 3)
    # A product with a matrix row rounds once per entry of the row, and each entry is rounded too. Each matrix is
    # applied twice: along the rows and along the columns of the tile.
    roundings = c + 2 * 2 * sum(int(np.count_nonzero(matrix, axis=1).max()) for matrix in (at, g, bt))
    merged = images.reshape(n, rows * m, columns * m, -1)[:, :oh, :ow]
    return _DEVIATIONS * sqrt(roundings * _UNIT**2 + 2 * factor_unit**2) * np.sqrt(merged)
