"""The base class of the schedule spaces of our kernels."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache, partial
from statistics import fmean
from typing import Any

import numpy as np

import kernels
from compiler.workloads.reference import NUMPY_DTYPES
from compiler.workloads.schedule import Choice, Decision, Program, Schedule, ScheduleSpace
from compiler.workloads.target import FMA_CHAINS, Target
from compiler.workloads.workload import Workload

BACKEND = "kernel"

# Choices for cache blocks are equal parts of a dimension, because the kernels divide dimensions evenly.
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_WORD_BYTES = 4  # of the tile_k elements that microkernels read at once
_PREFETCH_BYTES = (0, 256, 512, 1024, 2048, 4096, 8192)


class KernelSpace(ScheduleSpace):
    """The schedules of one of our kernels.

    A schedule is legal if its tiles fit the registers and its blocks the caches. Different legal schedules are
    different programs: a decision without effect has a single legal choice. The reference kernel has no parameters, so
    its space consists of one empty schedule.
    """

    backend = BACKEND

    def __init__(self, workload: Workload, target: Target) -> None:
        """
        Raises:
            ValueError: the target has no microkernel for the workload's data type.
        """
        self.workload, self.target = workload, target
        self._tiles = frozenset(kernels.register_tiles(target.isa, workload.dtype))
        self._tile_k = kernels.tile_k(target.isa, workload.dtype)
        # The columns of a vector; int8 has those of AVX2 on a CPU with AVX-512 that lacks VNNI.
        self._lanes = min((nr for _, nr in self._tiles), default=1)
        self._narrow_tiles = frozenset(kernels.narrow_tiles(target.isa, workload.dtype))
        self.decisions = self._decisions() if self._tiles else ()

    def operator(self, inputs: Mapping[str, np.ndarray], schedule: Mapping[str, Any] | None) -> Any:
        """Returns the kernel with its weights packed; None uses the kernel's default schedule."""
        options = {"isa": self.target.isa, "threads": self.target.num_cores, "schedule": schedule}
        if self.workload.operator.space is not None:  # its default schedule follows from the costs of the machine
            options["machine"] = self.target.machine
        return self.workload.operator.kernel(self.workload, inputs, **options)

    @abstractmethod
    def _decisions(self) -> tuple[Decision, ...]: ...

    @abstractmethod
    def _is_worth_building(self, values: Mapping[str, Any]) -> bool: ...

    @abstractmethod
    def _default_values(self) -> Mapping[str, Any]:
        """Returns the kernel's default values, which need not be among the choices of this space."""

    def is_legal(self, schedule: Schedule) -> bool:
        return self._is_worth_building(schedule.values) if schedule.values else not self.decisions

    def default(self) -> Schedule:
        return self._default

    @cached_property
    def _default(self) -> Schedule:
        """The kernel's default, or the legal schedule that differs from it in the fewest decisions."""
        values = self._default_values() if self.decisions else {}
        options = {d.name: sorted(d.choices, key=partial(distance, values[d.name])) for d in self.decisions}
        nearest = Schedule(BACKEND, {name: choices[0] for name, choices in options.items()})
        candidates = (
            nearest.replace(**dict(zip(names, choices, strict=True)))
            for count in range(len(options) + 1)
            for names in itertools.combinations(reversed(options), count)
            for choices in itertools.product(*(options[name] for name in names))
        )
        return next(filter(self.is_legal, candidates))

    def build(self, schedule: Schedule) -> Program:
        self.choices(schedule)
        if not self.is_legal(schedule):
            raise ValueError(f"not legal for {self.workload} on {self.target.isa}: {schedule}")
        return _KernelProgram(self, schedule)

    def _tile_decisions(self, rows: int, columns: int, prefix: str = "", few: int = 0) -> tuple[Decision, Decision]:
        """Returns ``mr`` and ``nr`` for a product of ``rows`` rows and ``columns`` packed columns.

        Args:
            few: the columns without padding, if a tile that is narrower than a vector may compute them; else 0.
        """
        tiles = [*self._tiles, *(tile for tile in self._narrow_tiles if tile[1] == few)]
        return (
            Decision(f"{prefix}mr", tuple(sorted({mr for mr, _ in tiles if mr <= rows}))),
            Decision(f"{prefix}nr", tuple(sorted({nr for _, nr in tiles if nr <= columns}))),
        )

    def _is_useful_narrow_tile(self, mr: int, nr: int, rows: int) -> bool:
        """Returns whether there is such a tile, narrower than a vector, and ``rows`` are divided evenly into it."""
        return (mr, nr) in self._narrow_tiles and mr == even_part(rows, mr)

    def _stream_decisions(self) -> tuple[Decision, ...]:
        """Returns the decisions on prefetching weights and on dividing the work between threads."""
        prefetch = Decision("prefetch", _PREFETCH_BYTES), Decision("prefetch_next", (False, True))
        return *prefetch, self._thread_decision()

    def _thread_decision(self) -> Decision:
        """Returns the decision on the numbers of parts of the rows and of the columns; each rectangle has a thread."""
        return Decision("threads", tuple(kernels.thread_splits(self.target.num_cores)))

    def _fills_pipeline(self, mr: int, nr: int, rows: int) -> bool:
        """Returns whether a microkernel of mr × nr exists, and hides the latency of FMA as far as ``rows`` permit.

        Microkernels of smaller tiles, which are for few rows, have copies of their accumulators. With more rows, a
        larger tile loads less per FMA.
        """
        return (mr, nr) in self._tiles and mr * nr >= min(FMA_CHAINS, rows) * self._lanes

    def _useful_tiles(self, rows: int, columns: int) -> frozenset[tuple[int, int]]:
        """Returns the useful register tiles (mr, nr) for a product whose ``rows`` the kernel divides evenly.

        A tile is useful if the kernel can use it and it hides the latency of FMA, or as much of it as possible.
        """
        return _useful_tiles(self._tiles, rows, columns, FMA_CHAINS * self._lanes)

    def _packed_columns(self, columns: int) -> int:
        return -(-columns // self._lanes) * self._lanes

    def _fits_l2(self, elements: int) -> bool:
        return elements * _WORD_BYTES // self._tile_k <= self.target.cache_bytes[1]


@lru_cache
def _useful_tiles(
    tiles: frozenset[tuple[int, int]], rows: int, columns: int, enough: int
) -> frozenset[tuple[int, int]]:
    used = [(mr, nr) for mr, nr in tiles if mr == even_part(rows, mr) and nr <= columns]
    most = max(mr * nr for mr, nr in used)
    return frozenset((mr, nr) for mr, nr in used if mr * nr >= min(enough, most))


class _KernelProgram:
    def __init__(self, space: KernelSpace, schedule: Schedule) -> None:
        self._space, self._schedule = space, schedule

    def load(self, inputs: Mapping[str, np.ndarray]) -> None:
        workload = self._space.workload
        self._operator = self._space.operator(inputs, self._schedule.values or None)
        self._out = np.empty(workload.output_shape, NUMPY_DTYPES[workload.dtype])
        names = (*workload.operator.arguments, *(name for name in ("residual",) if name in inputs))
        self._arguments = {name: inputs[name] for name in names} | {"out": self._out}
        self._written = [inputs[name] for name in ("x", "residual") if name in inputs]

    def run(self) -> np.ndarray:
        return self._operator(**self._arguments)

    def time(self, number: int, repeat: int) -> list[float]:
        if not self._space.workload.operator.cold_weights:
            return self._operator.time(**self._arguments, number=number, repeat=repeat)
        return [fmean(self._cold_run_secs() for _ in range(number)) for _ in range(repeat)]

    def _cold_run_secs(self) -> float:
        """Times one run as in a network: weights in memory, inputs in the caches of the cores that wrote them."""
        self._operator.evict_weights(*self._space.workload.dims[:3])
        for array in self._written:
            kernels.distribute(array, self._space.target.num_cores)
        (secs,) = self._operator.time(**self._arguments, number=1, repeat=1)
        return secs


def parts(size: int, at_least: int) -> tuple[int, ...]:
    """Returns equal parts of ``size`` of at least ``at_least``, and ``size`` itself, largest first."""
    equal = {-(-size // p) for p in PARTS}
    return tuple(sorted((p for p in equal if p >= at_least or p == size), reverse=True))


def even_part(size: int, most: int) -> int:
    """Divides ``size`` evenly into the fewest parts of at most ``most``. Returns the largest part."""
    return -(-size // -(-size // most))


def merged(*choices: Sequence[int]) -> tuple[int, ...]:
    """Returns the union of all choices, largest first."""
    return tuple(sorted(set().union(*choices), reverse=True))


def distance(wanted: Any, choice: Choice) -> tuple[bool, float]:
    """A sort key for choices: the wanted one, then smaller numbers, then larger ones, each by distance."""
    if not (isinstance(wanted, int) and isinstance(choice, int)):
        return choice != wanted, 0
    return choice > wanted, abs(choice - wanted)
