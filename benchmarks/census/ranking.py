"""The difference of outputs whose rows are sorted by a score, such as the boxes of a detector."""

from __future__ import annotations

from math import inf

import numpy as np

from compiler.check.answers import FLOAT32, largest_difference, scale


def ranked_difference(want: np.ndarray, got: np.ndarray, column: int) -> float:
    """Returns the largest absolute difference of tables (batch, rows, fields) sorted by the scores in ``column``.

    Rows with nearly the same score may be in either order, and the last rows may be missing in one table. Scores are
    compared in their order, and each other row with the closest one of a similar score.
    """
    if want.ndim != 3:
        return largest_difference(want, got)
    return max(_of_table(*tables, column) for tables in zip(want, got, strict=True))


def _of_table(want: np.ndarray, got: np.ndarray, column: int) -> float:
    want, got = want.astype(np.float64), got.astype(np.float64)
    off = largest_difference(want[:, column], got[:, column])
    similar = max(2 * off, FLOAT32 * scale(want[:, column]))
    for row in want:
        if row[column] - similar > got[:, column].min():
            candidates = got[np.abs(got[:, column] - row[column]) <= similar]
            off = max(off, float(np.abs(candidates - row).max(axis=1).min(initial=inf)))
    return off
