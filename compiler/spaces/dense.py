"""The schedule space of ``kernels.Dense``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any

import kernels
from compiler.spaces.base import KernelSpace, distance, parts
from compiler.workloads.operators.int8 import INT8
from compiler.workloads.schedule import Decision, Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

_MIN_KC = 64  # with a shorter block of k, loading and storing the tile costs more than the block saves
_MIN_MC = 8
_LEAST_PRODUCTS = 2**20  # with fewer, quarters are too small for a gain


class DenseKernelSpace(KernelSpace):
    """``algorithm mr nr mc kc nc order pack_a prefetch prefetch_next threads``.

    A schedule is legal if the register tile has a microkernel and enough accumulators to hide the latency of FMA, and
    the block that is read repeatedly stays in L2. With Strassen's algorithm, whose products have their own defaults,
    only ``threads`` has an effect.

    Args:
        fast_algorithms: whether schedules may use Strassen's algorithm if it applies. It rounds more than a plain sum.
    """

    def __init__(self, workload: Workload, target: Target, fast_algorithms: bool = True) -> None:
        self._may_halve = fast_algorithms
        super().__init__(workload, target)

    def algorithm(self, schedule: Schedule) -> str:
        return str(schedule.values.get("algorithm", "direct"))

    @property
    def product(self) -> tuple[int, int, int]:
        """The sizes (m, n, k) of the matrix product."""
        m, n, k = self.workload.dims
        return m, n, k

    def _decisions(self) -> tuple[Decision, ...]:
        m, n, k = self.product
        columns, integers = self._packed_columns(n), self.workload.dtype == INT8
        mr, nr = self._tile_decisions(m, columns, few=n)
        widest = max(nr for _, nr in self._tiles if nr <= columns)
        halves = any(self._halves(*split) for split in kernels.thread_splits(self.target.num_cores))
        return (
            Decision("algorithm", ("direct", "strassen") if halves else ("direct",)),
            mr,
            nr,
            Decision("mc", parts(m, at_least=_MIN_MC)),
            Decision("kc", (k,) if integers else parts(k, at_least=_MIN_KC)),
            Decision("nc", parts(columns, at_least=widest)),
            Decision("order", ("m_inner", "n_inner")),
            Decision("pack_a", (False,) if integers else (False, True)),  # without an effect on integers
            *self._stream_decisions(),
        )

    def _halves(self, threads_m: int, threads_n: int) -> bool:
        """Returns whether Strassen's algorithm applies and may be faster."""
        m, n, k = self.product
        unit = 2 * self.target.lanes * threads_n
        large = m * n * k >= _LEAST_PRODUCTS and m // threads_m >= _MIN_MC
        return self._may_halve and self.workload.dtype == "float32" and large and k % 2 == 0 and n % unit == 0

    @cached_property
    def _without_effect(self) -> Mapping[str, Any]:
        """The other decisions of schedules with Strassen's algorithm: the choices nearest to the kernel's default."""
        values = self._default_values()
        others = (d for d in self.decisions if d.name not in ("algorithm", "threads"))
        return {d.name: min(d.choices, key=partial(distance, values[d.name])) for d in others}

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        v = values
        if v["algorithm"] == "strassen":
            return self._halves(*v["threads"]) and self._without_effect.items() <= v.items()
        mr, nr, mc, kc, nc = v["mr"], v["nr"], v["mc"], v["kc"], v["nc"]
        m, n, k = self.product
        if nr < self._lanes:
            if not self._is_useful_narrow_tile(mr, nr, m) or kc < k or v["prefetch"] or v["prefetch_next"]:
                return False
        elif not self._fills_pipeline(mr, nr, m):
            return False
        if mc < mr or nc < nr:
            return False
        if v["pack_a"] and m == 1:
            return False
        if v["prefetch_next"] and v["order"] == "n_inner" and (kc < k or nc >= n):  # no next block
            return False
        if m <= mr:  # one row tile: only A is read again, which is small, and both orders are the same
            return v["order"] == "n_inner"
        return self._fits_l2(kc * nc if v["order"] == "n_inner" else mc * kc)

    def _default_values(self) -> Mapping[str, Any]:
        m, n, k = self.product
        t = self.target
        return kernels.default_dense_schedule(
            m, n, k, t.isa, t.num_cores, self.workload.dtype, fast=self._may_halve, machine=t.machine
        )


def space(workload: Workload, target: Target, fast_algorithms: bool) -> KernelSpace:
    """Returns the space of ``kernels.Dense``."""
    return DenseKernelSpace(workload, target, fast_algorithms)
