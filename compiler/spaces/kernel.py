"""The parameters of our own kernels: what ``kernels.Dense`` lets a schedule decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import kernels
from compiler.schedule import Choice, Decision, Program, Schedule, ScheduleSpace
from compiler.target import Target
from compiler.workload import DTYPE_BYTES, Workload

BACKEND = "kernel"

# Cache blocks are offered as equal parts of a dimension: the kernels even them out anyway.
_PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_MIN_KC = 64  # a shorter k block spends more on loading and storing the tile than it saves
_MIN_MC = 8
_PREFETCH_BYTES = (0, 256, 512, 1024, 2048, 4096)
# Accumulators in flight that hide an FMA's latency (4 cycles) at two FMAs a cycle. The microkernels keep copies of a
# smaller tile's accumulators, which is for few rows; where there are more rows, a larger tile loads less for an FMA.
_FMA_CHAINS = 8


class DenseKernelSpace(ScheduleSpace):
    """``mr nr mc kc nc order pack_a prefetch prefetch_next threads_m`` of ``kernels.Dense``.

    Legal is what the register file and the caches can carry: a register tile that has a microkernel and enough
    accumulators to hide the latency of FMA, and a block that stays in L2 for as long as it is read again. The reference
    has no parameters: its space is one empty schedule.
    """

    backend = BACKEND

    def __init__(self, workload: Workload, target: Target) -> None:
        self.workload, self.target = workload, target
        m, n, k = workload.dims
        self._tiles = frozenset(kernels.register_tiles(target.isa))
        self._chains = min(_FMA_CHAINS, m)
        self._element = DTYPE_BYTES[workload.dtype]
        self.decisions = self._decisions(m, n, k) if self._tiles else ()

    def _decisions(self, m: int, n: int, k: int) -> tuple[Decision, ...]:
        columns = -(-n // self.target.lanes) * self.target.lanes  # as packed
        cores = self.target.num_cores
        nrs = sorted({nr for _, nr in self._tiles if nr <= columns})
        return (
            Decision("mr", tuple(sorted({mr for mr, _ in self._tiles if mr <= m}))),
            Decision("nr", tuple(nrs)),
            Decision("mc", _parts(m, at_least=_MIN_MC)),
            Decision("kc", _parts(k, at_least=_MIN_KC)),
            Decision("nc", _parts(columns, at_least=nrs[-1])),
            Decision("order", ("m_inner", "n_inner")),
            Decision("pack_a", (False, True)),
            Decision("prefetch", _PREFETCH_BYTES),
            Decision("prefetch_next", (False, True)),
            Decision("threads_m", tuple(d for d in range(1, cores + 1) if cores % d == 0)),
        )

    def is_legal(self, schedule: Schedule) -> bool:
        if not schedule.values:
            return not self.decisions
        v: Mapping[str, Any] = schedule.values
        mr, nr, mc, kc, nc = v["mr"], v["nr"], v["mc"], v["kc"], v["nc"]
        if (mr, nr) not in self._tiles or mr * nr < self._chains * self.target.lanes or mc < mr or nc < nr:
            return False
        m = self.workload.dims[0]
        if (v["pack_a"] and m == 1) or (v["prefetch_next"] and v["order"] == "n_inner"):
            return False
        if m <= mr:  # one row tile: nothing is read twice but A, which is small, and both orders are one
            return v["order"] == "n_inner"
        read_again = kc * nc if v["order"] == "n_inner" else mc * kc
        return read_again * self._element <= self.target.cache_bytes[1]

    def default(self) -> Schedule:
        m, n, k = self.workload.dims
        values = kernels.default_dense_schedule(m, n, k, self.target.isa, self.target.num_cores)
        return Schedule(BACKEND, {d.name: _nearest(d, values[d.name]) for d in self.decisions})

    def build(self, schedule: Schedule) -> Program:
        self.choices(schedule)
        if not self.is_legal(schedule):
            raise ValueError(f"not legal for {self.workload} on {self.target.isa}: {schedule}")
        return _DenseProgram(self.workload, self.target, schedule)


class _DenseProgram:
    def __init__(self, workload: Workload, target: Target, schedule: Schedule) -> None:
        self._workload, self._target, self._schedule = workload, target, schedule

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        self._dense = kernels.Dense(
            inputs["weight"],
            inputs.get("bias"),
            self._workload.activation,
            isa=self._target.isa,
            threads=self._target.num_cores,
            schedule=self._schedule if self._schedule.values else None,
        )
        self._x, self._residual = inputs["x"], inputs.get("residual")
        self._out = np.empty((self._workload.sizes["m"], self._workload.sizes["n"]), np.float32)

    def run(self) -> np.ndarray:
        return self._dense(self._x, out=self._out, residual=self._residual)

    def time(self, number: int, repeat: int) -> list[float]:
        return self._dense.time(self._x, self._out, self._residual, number, repeat)


def _parts(size: int, at_least: int) -> tuple[int, ...]:
    """Equal parts of ``size``, largest first, none smaller than ``at_least`` but ``size`` itself."""
    parts = {-(-size // p) for p in _PARTS}
    return tuple(sorted((p for p in parts if p >= at_least or p == size), reverse=True))


def _nearest(decision: Decision, value: Any) -> Choice:
    """The choice itself where it is offered, else the largest offered number below it, else the smallest."""
    if value in decision.choices:
        return value
    numbers = [c for c in decision.choices if isinstance(c, int)]
    return max((c for c in numbers if c <= value), default=min(numbers))


# One line an operator.
KERNEL_SPACES = {"dense": DenseKernelSpace}
