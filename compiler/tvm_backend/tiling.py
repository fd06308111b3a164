"""Perfect tilings of loops, and which of them fit the registers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, prod
from typing import Any, TypeAlias

from compiler.workloads.target import FMA_CHAINS, Target
from compiler.workloads.workload import DTYPE_BYTES

Tile: TypeAlias = tuple[int, ...]

# Vector registers for the operands of FMAs; the accumulators use the others.
_OPERAND_REGISTERS = 4
# FMAs in straight-line code. More take long to compile and do not fit the CPU's cache of decoded instructions.
_STRAIGHT_FMAS = 256
_MAX_REDUCTION_UNROLL = 16
# Unrolling of the reduction in a default schedule, enough to amortize the loop overhead.
_DEFAULT_REDUCTION_UNROLL = 4
# Cost of loading a vector relative to broadcasting an element: 16 consecutive elements share a cache line.
_VECTOR_LOAD = 2


@dataclass(frozen=True)
class Tiling:
    """The split of a loop into ``levels`` loops, outermost first, whose sizes multiply to ``extent``.

    ``block`` is the name of the loop's block. ``vector`` marks the innermost spatial loop of that block.
    ``max_innermost`` limits the innermost size, unless it is None.
    """

    name: str
    block: str
    extent: int
    levels: int
    reduction: bool
    vector: bool
    max_innermost: int | None = None

    def tiles(self) -> tuple[Tile, ...]:
        """Returns all legal lists of sizes."""
        limit = self.max_innermost or self.extent
        return tuple(tile for tile in _factorizations(self.extent, self.levels) if tile[-1] <= limit)


class TiledBlock:
    """A block whose loops are, outermost first: spatial, spatial, reduction, reduction, register tile.

    Cores share the outermost loops. The register tile has the innermost spatial sizes and is kept in registers, as
    vectors along its last axis. It and the inner reduction loops are unrolled.
    """

    def __init__(self, tilings: Sequence[Tiling], target: Target) -> None:
        self._target = target
        self._max_accumulators = max_accumulators(target)
        self.choices = {t.name: tuple(tile for tile in t.tiles() if self._is_choice(t, tile)) for t in tilings}
        self._reductions = [t for t in tilings if t.reduction]
        self._spatial = sorted((t for t in tilings if not t.reduction), key=lambda t: t.vector)
        # A table, because a search tests the legality of every neighbor of every schedule.
        self._registers = {t.name: {c: self._vectors(t, c[-1]) for c in self.choices[t.name]} for t in self._spatial}
        self._min_accumulators = min(FMA_CHAINS, max(self._accumulator_counts()))

    def is_legal(self, values: Mapping[str, Any]) -> bool:
        """Whether a schedule of the block is legal.

        The register tile must leave registers for operands, must hide the latency of FMA if any tile of this block
        can, and must not be too much straight-line code. There must be a task per core if there are enough tiles.
        """
        accumulators = jobs = tiles = 1
        for name, registers in self._registers.items():
            tile = values[name]
            accumulators *= registers[tile]
            jobs *= tile[0]
            tiles *= tile[0] * tile[1]
        fmas = accumulators
        for tiling in self._reductions:
            fmas *= values[tiling.name][-1]
        return (
            self._min_accumulators <= accumulators <= self._max_accumulators
            and fmas <= _STRAIGHT_FMAS
            and jobs >= min(self._target.num_cores, tiles)
        )

    def default(self) -> dict[str, Tile]:
        """Returns the default decisions.

        The register tile has the fewest loads per FMA. The loops around it visit as many rows as fit half of L2 before
        the next columns, so that the operands stay in the cache as long as possible.
        """
        sizes = self._register_tile()
        options = [
            [c for c in self.choices[t.name] if c[-1] == size] for t, size in zip(self._spatial, sizes, strict=True)
        ]
        tiles = max(itertools.product(*options), key=self._placement_merit)
        values = {t.name: tile for t, tile in zip(self._spatial, tiles, strict=True)}
        for tiling in self._reductions:
            limit = _DEFAULT_REDUCTION_UNROLL if tiling is self._reductions[-1] else 1
            values[tiling.name] = max((c for c in self.choices[tiling.name] if c[-1] <= limit), key=lambda c: c[-1])
        return values

    def _is_choice(self, tiling: Tiling, tile: Tile) -> bool:
        if tiling.reduction:
            return tile[-1] <= _MAX_REDUCTION_UNROLL
        if tiling.vector and tiling.extent % self._target.lanes == 0 and tile[-1] % self._target.lanes:
            return False  # partial vectors, although entire ones are possible
        return self._vectors(tiling, tile[-1]) <= self._max_accumulators

    def _vectors(self, tiling: Tiling, size: int) -> int:
        return size // vector_lanes(size, self._target.lanes) if tiling.vector else size

    def _accumulator_counts(self) -> set[int]:
        """Returns the numbers of accumulators of all register tiles that fit."""
        counts = {1}
        for registers in self._registers.values():
            counts = {a * b for a in counts for b in registers.values() if a * b <= self._max_accumulators}
        return counts

    def _register_tile(self) -> tuple[int, ...]:
        def merit(sizes: tuple[int, ...]) -> tuple[float, int]:
            rows, vectors = prod(sizes[:-1]), self._vectors(self._spatial[-1], sizes[-1])
            tiles = prod(t.extent for t in self._spatial) // prod(sizes)
            return self._balance(tiles) * prod(sizes) / (rows + _VECTOR_LOAD * vectors), rows

        sizes = itertools.product(*(sorted({c[-1] for c in self.choices[t.name]}) for t in self._spatial))
        return max(filter(self._fits, sizes), key=merit)

    def _fits(self, sizes: tuple[int, ...]) -> bool:
        accumulators = prod(sizes[:-1]) * self._vectors(self._spatial[-1], sizes[-1])
        return self._min_accumulators <= accumulators <= self._max_accumulators

    def _balance(self, jobs: int) -> float:
        """Returns the share of time in which cores are busy, if equal jobs are assigned dynamically."""
        cores = self._target.num_cores
        return jobs / (cores * -(-jobs // cores))

    def _placement_merit(self, tiles: tuple[Tile, ...]) -> tuple[Any, ...]:
        jobs, cores = prod(tile[0] for tile in tiles), self._target.num_cores
        rows = prod(tile[1] * tile[2] for tile in tiles[:-1])
        bytes_read = rows * prod(t.extent for t in self._reductions) * DTYPE_BYTES["float32"]
        return (
            jobs >= min(cores, jobs * prod(tile[1] for tile in tiles)),
            round(self._balance(jobs), 1),
            bytes_read <= self._target.cache_bytes[1] // 2,
            rows,
            -tiles[-1][1],
        )


def max_accumulators(target: Target) -> int:
    """Returns the number of vectors of a register tile that fit the target's registers."""
    return target.num_vector_registers - _OPERAND_REGISTERS


def vector_lanes(size: int, lanes: int) -> int:
    """Returns the length of the longest vector that divides ``size`` and fits a register of ``lanes`` values."""
    return max(d for d in range(1, min(size, lanes) + 1) if size % d == 0)


def _factorizations(number: int, count: int) -> Iterator[Tile]:
    if count == 1:
        yield (number,)
        return
    for first in _divisors(number):
        for rest in _factorizations(number // first, count - 1):
            yield (first, *rest)


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, isqrt(number) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})
