"""Simulated shares give the same answers as threads, and a share that is left out computes nothing."""

from __future__ import annotations

import numpy as np
import pytest

import kernels
from kernels.simulation import simulated_shares

THREADS = 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 64), np.float32)
SCHEDULE = kernels.default_dense_schedule(60, 64, 64, kernels.detect_isa(), THREADS)
LAYER = kernels.Dense(
    RNG.standard_normal((64, 64), np.float32),
    threads=THREADS,
    schedule={**SCHEDULE, "mr": 1, "threads": (THREADS, 1)},
)


def test_all_shares_give_the_answer() -> None:
    with simulated_shares() as regions:
        simulated = LAYER(X)
    np.testing.assert_array_equal(simulated, LAYER(X))
    assert [region.threads for region in regions] == [THREADS]
    assert len(regions[0].share_secs) == THREADS
    assert all(secs > 0 for secs in regions[0].share_secs)


def test_one_share_computes_its_part_only() -> None:
    whole, parts = LAYER(X), []
    for only in range(THREADS):
        out = np.full_like(whole, np.nan)
        with simulated_shares(only) as regions:
            LAYER(X, out=out)
        assert [secs > 0 for secs in regions[0].share_secs] == [share == only for share in range(THREADS)]
        computed = ~np.isnan(out)
        np.testing.assert_array_equal(out[computed], whole[computed])
        parts.append(computed)
    assert (np.sum(parts, axis=0) == 1).all()


def test_threads_that_wait_for_each_other_run_too() -> None:
    """Threads of a direction share its units and meet after each step; the first one takes all parts."""
    w, r = (RNG.standard_normal((1, 4 * 64, 64), np.float32) / 8 for _ in range(2))
    layer, x = kernels.Recurrent("lstm", w, r, threads=2), RNG.standard_normal((3, 1, 64), np.float32)
    with simulated_shares():
        simulated = layer(x)
    for one, other in zip(simulated, layer(x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_return_after_the_block() -> None:
    with pytest.raises(ZeroDivisionError), simulated_shares():
        _ = 1 / 0
    with simulated_shares() as regions:
        pass
    LAYER(X)
    assert regions == []


def test_wrong_uses_raise() -> None:
    with pytest.raises(ValueError, match="only must be 0 or more, got -1"), simulated_shares(-1):
        pass
    with simulated_shares() as regions:
        with pytest.raises(RuntimeError, match="simulates shares already"), simulated_shares():
            pass
        LAYER(X)  # the outer block still simulates
    assert len(regions) == 1
