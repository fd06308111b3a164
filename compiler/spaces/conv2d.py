"""The schedule space of ``kernels.Conv2d``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import kernels
from compiler.spaces.base import PARTS, KernelSpace, even_part, merged, parts
from compiler.spaces.default_conv2d import default_conv2d_schedule
from compiler.spaces.dense import DenseKernelSpace
from compiler.spaces.depthwise import DepthwiseKernelSpace
from compiler.workloads.operators.conv2d import is_depthwise, is_pointwise
from compiler.workloads.operators.int8 import INT8
from compiler.workloads.operators.windows import pads
from compiler.workloads.schedule import Decision, Schedule
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import Workload

_MIN_KC = 64  # with a shorter block of the sum, loading and storing the tile costs more than the block saves
_MIN_TILES = 8  # fewer of Winograd's tiles do not reuse a panel of weights enough
# Of integers (kernels/cpp/conv2d/integer_winograd.cc): the algorithm, the elements of its words, and the most channels.
_EXACT, _INT16_PAIRS, _MOST_CHANNELS = "winograd2", 2, 1827


class PointwiseKernelSpace(DenseKernelSpace):
    """The schedules of a convolution that is a matrix product over its pixels."""

    @property
    def product(self) -> tuple[int, int, int]:
        s = self.workload.sizes
        return s["n"] * s["h"] * s["w"], s["o"], s["c"]


def _exact_algorithms(workload: Workload, isa: str) -> tuple[str, ...]:
    """Returns the algorithms other than the direct one that compute the same integers, as ``kernels`` has them."""
    s = workload.sizes
    if workload.dtype != INT8 or kernels.tile_k(isa, INT8) != _INT16_PAIRS or s["c"] > _MOST_CHANNELS:
        return ()
    undilated = s["dilation_h"] == s["dilation_w"] == 1
    return (_EXACT,) if undilated and ALGORITHMS[_EXACT].fits(workload) else ()


class ConvKernelSpace(KernelSpace):
    """``algorithm mr nr rows kc prefetch prefetch_next threads``.

    ``rows`` counts rows of the output for the direct algorithm, and tiles for Winograd's, which ignores ``kc``. A
    schedule is legal if the register tile is useful, and the rows stay in L2 while all output channels are computed.

    Args:
        fast_algorithms: whether schedules may use Winograd's algorithms, which round more than a plain sum.
    """

    def __init__(self, workload: Workload, target: Target, fast_algorithms: bool = True) -> None:
        offered = [name for name, algorithm in ALGORITHMS.items() if fast_algorithms and algorithm.applies(workload)]
        self._algorithms = ("direct", *offered, *_exact_algorithms(workload, target.isa))
        super().__init__(workload, target)

    def algorithm(self, schedule: Schedule) -> str:
        return str(schedule.values.get("algorithm", "direct"))

    def _decisions(self) -> tuple[Decision, ...]:
        s = self.workload.sizes
        self._rows = {algorithm: self._row_choices(algorithm) for algorithm in self._algorithms}
        self._columns = self._packed_columns(s["o"] // s["groups"])
        self._sums = self._blocks_of_sum()
        return (
            Decision("algorithm", self._algorithms),
            *self._tile_decisions(
                max(self._product_rows(a, self._rows[a][0]) for a in self._algorithms),
                self._columns,
                few=s["o"] // s["groups"],
            ),
            Decision("rows", merged(*self._rows.values())),
            Decision("kc", self._sums),
            *self._stream_decisions(),
        )

    def _all_rows(self, algorithm: str) -> int:
        """Returns the number that ``rows`` divides."""
        if algorithm == "direct":
            return self.workload.output_shape[1]
        return ALGORITHMS[algorithm].tiles(self.workload)

    def _product_rows(self, algorithm: str, rows: int) -> int:
        """Returns the rows of the matrix products: the pixels of one output row, or the tiles of a pass."""
        return self.workload.output_shape[2] if algorithm == "direct" else rows

    def _row_choices(self, algorithm: str) -> tuple[int, ...]:
        """Returns equal parts of all rows, including the kernel's default."""
        rows = self._all_rows(algorithm)
        at_least = 1 if algorithm == "direct" else min(_MIN_TILES, rows)
        # Also those of the default without fast algorithms, so that its space is a part of this one.
        usual = (self._kernel_schedule, self._plain_schedule)
        wanted = [even_part(rows, values["rows"]) for values in usual if values["algorithm"] == algorithm]
        return merged(parts(rows, at_least), wanted)

    def _blocks_of_sum(self) -> tuple[int, ...]:
        """Returns the possible block lengths of the sum: runs that are contiguous in the image, or parts of a run."""
        s = self.workload.sizes
        contiguous_rows = s["dilation_w"] == 1 and s["groups"] == 1
        run = s["c"] // s["groups"] * (s["kw"] if contiguous_rows else 1)
        runs = self.workload.reduction // run
        if self.workload.dtype == INT8:
            return (self.workload.reduction,)
        several = [run * count for count in parts(runs, at_least=1)]
        pieces = [run // p for p in PARTS if run % p == 0]
        return tuple(kc for kc in merged(several, pieces) if kc >= _MIN_KC or kc == self.workload.reduction)

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        v = values
        algorithm, rows = v["algorithm"], v["rows"]
        if rows not in self._rows[algorithm]:
            return False
        product_rows = self._product_rows(algorithm, rows)
        if v["nr"] < self._lanes:
            whole = algorithm == "direct" and v["kc"] == self._sums[0] and not v["prefetch"]
            if not (whole and self._is_useful_narrow_tile(v["mr"], v["nr"], product_rows)):
                return False
        elif (v["mr"], v["nr"]) not in self._useful_tiles(product_rows, self._columns):
            return False
        if algorithm == "direct":
            return self._is_worth_building_directly(v["nr"], rows, v["kc"], v["prefetch_next"])
        used = ALGORITHMS[algorithm]
        transformed = (used.size * used.stride) ** 2 * rows * self.workload.sizes["c"]
        return v["kc"] == self._sums[0] and (rows == self._rows[algorithm][-1] or self._fits_l2(transformed))

    def _is_worth_building_directly(self, nr: int, rows: int, kc: int, prefetch_next: bool) -> bool:
        s = self.workload.sizes
        one_panel = self._columns <= nr or nr < self._lanes
        if kc == self._sums[0] and s["groups"] == 1 and one_panel:  # there is no next panel to prefetch
            if prefetch_next:
                return False
            if not any(pads(s)):  # nothing happens between two passes over the rows
                return rows == self._rows["direct"][0]
        image_rows = (rows - 1) * s["stride_h"] + s["dilation_h"] * (s["kh"] - 1) + 1
        image_columns = s["w"] + s["pad_left"] + s["pad_right"]
        return rows == self._rows["direct"][-1] or self._fits_l2(image_rows * image_columns * s["c"])

    def _default_values(self) -> Mapping[str, Any]:
        values = self._kernel_schedule
        algorithm = values["algorithm"]
        rows = even_part(self._all_rows(algorithm), values["rows"])
        mr = values["mr"]
        if values["nr"] >= self._lanes:
            mr = even_part(self._product_rows(algorithm, rows), mr)
        kc = values["kc"] if algorithm == "direct" else self._sums[0]
        return values | {"mr": mr, "rows": rows, "kc": kc}

    @cached_property
    def _plain_schedule(self) -> dict[str, Any]:
        """The default without fast algorithms."""
        return default_conv2d_schedule(self.workload, self.target, False)

    @cached_property
    def _kernel_schedule(self) -> dict[str, Any]:
        return default_conv2d_schedule(self.workload, self.target, len(self._algorithms) > 1)


def space(workload: Workload, target: Target, fast_algorithms: bool) -> KernelSpace:
    """Returns the space of the kernel that computes the convolution."""
    if is_pointwise(workload):
        return PointwiseKernelSpace(workload, target, fast_algorithms)
    if is_depthwise(workload):
        return DepthwiseKernelSpace(workload, target)
    return ConvKernelSpace(workload, target, fast_algorithms)
