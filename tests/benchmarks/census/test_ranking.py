"""Tables whose rows are sorted by a score."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.census.ranking import ranked_difference


def table(seed: int = 0) -> np.ndarray:
    """Rows of two coordinates and a score, sorted by the score."""
    rows = np.random.default_rng(seed).uniform(0, 100, (1, 20, 3))
    rows[..., 2] = np.linspace(0.9, 0.1, 20)
    return rows


def test_the_same_table() -> None:
    assert ranked_difference(table(), table(), 2) == 0


def test_rows_with_the_same_score_may_change_places() -> None:
    want = table()
    want[0, 5, 2] = want[0, 6, 2]
    got = want.copy()
    got[0, [5, 6]] = got[0, [6, 5]]
    assert ranked_difference(want, got, 2) == 0
    assert np.abs(want - got).max() > 1


def test_the_last_row_may_be_another_one() -> None:
    want = table()
    got = want.copy()
    got[0, -1, :2] += 50
    assert ranked_difference(want, got, 2) == 0


@pytest.mark.parametrize(("row", "column", "off"), [(3, 0, 7.0), (3, 2, 0.02), (0, 1, 7.0)])
def test_other_differences_count(row: int, column: int, off: float) -> None:
    want = table()
    got = want.copy()
    got[0, row, column] += off
    assert ranked_difference(want, got, 2) == pytest.approx(off)


def test_rows_in_the_wrong_order() -> None:
    want = table()
    got = want.copy()
    got[0, [2, 9], :2] = got[0, [9, 2], :2]
    assert ranked_difference(want, got, 2) > 1
