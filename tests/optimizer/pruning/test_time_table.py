from __future__ import annotations

import numpy as np
import pytest

from optimizer.pruning.time_table import TimeTable, measured_widths


def test_a_plane_is_exact() -> None:
    table = TimeTable.measured(lambda read, written: 2.0 * read + 3 * written, (4, 8, 20), (1, 5))
    assert table(8, 5) == 31
    assert table(6, 2) == pytest.approx(18)
    assert table(14, 4) == pytest.approx(40)
    assert table(40, 9) == table(20, 5)
    assert table(1, 0) == table(4, 1)


def test_wider_is_never_cheaper() -> None:
    rng = np.random.default_rng(0)
    table = TimeTable.measured(lambda *_: float(rng.uniform()), (1, 2, 3, 4), (1, 2, 3))
    assert (np.diff(table.secs, axis=0) >= 0).all()
    assert (np.diff(table.secs, axis=1) >= 0).all()


def test_one_width() -> None:
    assert TimeTable.measured(lambda *_: 2.0, (3,), (7,))(100, 1) == 2


def test_which_widths_are_measured() -> None:
    assert measured_widths(16, 96, 16) == (16, 48, 64, 80, 96)
    assert measured_widths(3, 3, 16) == (3,)
    assert measured_widths(8, 20, 16) == (8, 16, 20)
