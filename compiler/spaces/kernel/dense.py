"""What ``kernels.Dense`` lets a schedule decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels
from compiler.schedule import Decision
from compiler.spaces.kernel.base import KernelSpace, parts

_MIN_KC = 64  # a shorter k block spends more on loading and storing the tile than it saves
_MIN_MC = 8


class DenseKernelSpace(KernelSpace):
    """``mr nr mc kc nc order pack_a prefetch prefetch_next threads_m``.

    Legal is a register tile that has a microkernel and enough accumulators to hide the latency of FMA, and a block that
    stays in L2 for as long as it is read again.
    """

    @property
    def product(self) -> tuple[int, int, int]:
        """The sizes (m, n, k) of the matrix product."""
        m, n, k = self.workload.dims
        return m, n, k

    def operator(self, inputs: Mapping[str, np.ndarray], schedule: Mapping[str, Any] | None) -> Any:
        return kernels.Dense(
            inputs["weight"],
            inputs.get("bias"),
            self.workload.activation,
            isa=self.target.isa,
            threads=self.target.num_cores,
            schedule=schedule,
        )

    def _decisions(self) -> tuple[Decision, ...]:
        m, n, k = self.product
        columns = self._packed_columns(n)
        mr, nr = self._tile_decisions(m, columns)
        widest = max(nr for _, nr in self._tiles if nr <= columns)
        return (
            mr,
            nr,
            Decision("mc", parts(m, at_least=_MIN_MC)),
            Decision("kc", parts(k, at_least=_MIN_KC)),
            Decision("nc", parts(columns, at_least=widest)),
            Decision("order", ("m_inner", "n_inner")),
            Decision("pack_a", (False, True)),
            *self._stream_decisions(),
        )

    def _is_worth_building(self, values: Mapping[str, Any]) -> bool:
        v = values
        mr, nr, mc, kc, nc = v["mr"], v["nr"], v["mc"], v["kc"], v["nc"]
        m, n, k = self.product
        if not self._fills_pipeline(mr, nr, m) or mc < mr or nc < nr:
            return False
        if v["pack_a"] and m == 1:
            return False
        if v["prefetch_next"] and v["order"] == "n_inner" and (kc < k or nc >= n):  # no next block
            return False
        if m <= mr:  # one row tile: nothing is read twice but A, which is small, and both orders are one
            return v["order"] == "n_inner"
        return self._fits_l2(kc * nc if v["order"] == "n_inner" else mc * kc)

    def _default_values(self) -> Mapping[str, Any]:
        m, n, k = self.product
        return kernels.default_dense_schedule(m, n, k, self.target.isa, self.target.num_cores, self.workload.dtype)
