"""Tilings against brute force, legality of tiled blocks, and legality of defaults."""

from __future__ import annotations

import dataclasses
import itertools
from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.tvm_backend.tiling import TiledBlock, Tiling, vector_lanes
from compiler.workloads.target import ISAS, Target


def target(isa: str = "avx512", num_cores: int = 1) -> Target:
    features = ISAS[isa]
    return Target(
        "a CPU", isa, features.vector_bits, features.num_vector_registers, (1 << 15, 1 << 20, 1 << 25), num_cores
    )


def matrix_product(m: int, n: int, k: int) -> list[Tiling]:
    spatial = Tiling("tile_m", "dense", m, levels=3, reduction=False, vector=False)
    return [
        spatial,
        dataclasses.replace(spatial, name="tile_n", extent=n, vector=True),
        dataclasses.replace(spatial, name="tile_k", extent=k, levels=2, reduction=True),
    ]


@given(extent=st.integers(1, 30), levels=st.integers(1, 4), limit=st.none() | st.integers(1, 10))
def test_tiles_are_all_factorizations(extent: int, levels: int, limit: int | None) -> None:
    tiling = Tiling("tile_m", "dense", extent, levels, reduction=False, vector=False, max_innermost=limit)
    expected = [
        sizes
        for sizes in itertools.product(range(1, extent + 1), repeat=levels)
        if prod(sizes) == extent and (limit is None or sizes[-1] <= limit)
    ]
    assert list(tiling.tiles()) == expected


@pytest.mark.parametrize(
    ("size", "lanes", "longest"), [(64, 16, 16), (24, 16, 12), (13, 16, 13), (17, 16, 1), (5, 1, 1)]
)
def test_the_longest_vector(size: int, lanes: int, longest: int) -> None:
    assert vector_lanes(size, lanes) == longest


@pytest.mark.parametrize(
    ("values", "legal"),
    [
        ({"tile_m": (8, 8, 8), "tile_n": (16, 1, 32), "tile_k": (128, 4)}, True),
        ({"tile_m": (8, 4, 16), "tile_n": (16, 1, 32), "tile_k": (128, 4)}, False),  # 32 accumulators of 32 registers
        ({"tile_m": (64, 2, 4), "tile_n": (16, 2, 16), "tile_k": (128, 4)}, False),  # 4 accumulators hide no latency
        ({"tile_m": (128, 1, 4), "tile_n": (8, 1, 64), "tile_k": (32, 16)}, True),  # 256 FMAs in straight-line code
        ({"tile_m": (32, 1, 16), "tile_n": (32, 1, 16), "tile_k": (32, 16)}, True),
    ],
)
def test_legal_is_what_registers_carry(values: dict[str, tuple[int, ...]], legal: bool) -> None:
    block = TiledBlock(matrix_product(512, 512, 512), target())
    assert all(values[name] in choices for name, choices in block.choices.items())
    assert block.is_legal(values) is legal


def test_each_core_gets_something_to_do() -> None:
    block = TiledBlock(matrix_product(64, 64, 64), target(num_cores=4))
    assert not block.is_legal({"tile_m": (1, 8, 8), "tile_n": (2, 1, 32), "tile_k": (16, 4)})
    assert block.is_legal({"tile_m": (2, 4, 8), "tile_n": (2, 1, 32), "tile_k": (16, 4)})


def test_vectors_are_whole_where_they_can_be() -> None:
    (_, rows), (_, columns), _ = TiledBlock(matrix_product(7, 48, 3), target()).choices.items()
    assert {tile[-1] for tile in columns} == {16, 48}
    assert {tile[-1] for tile in rows} == {1, 7}


@given(
    m=st.integers(1, 600),
    n=st.integers(1, 600),
    k=st.integers(1, 600),
    isa=st.sampled_from(sorted(ISAS)),
    num_cores=st.sampled_from([1, 2, 3, 8]),
)
def test_a_default_is_always_legal(m: int, n: int, k: int, isa: str, num_cores: int) -> None:
    block = TiledBlock(matrix_product(m, n, k), target(isa, num_cores))
    default = block.default()
    assert all(default[name] in choices for name, choices in block.choices.items())
    assert block.is_legal(default)
