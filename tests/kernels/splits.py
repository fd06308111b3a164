"""The threads of drawn schedules."""

from __future__ import annotations

from hypothesis import strategies as st


@st.composite
def splits(draw: st.DrawFn, threads: int) -> dict[str, int]:
    """Draws the parts of rows and columns. Schedules of earlier versions lack those of columns."""
    m = draw(st.integers(1, threads))
    n = draw(st.integers(1, threads // m))
    older = m * n == threads and draw(st.booleans())
    return {"threads_m": m} if older else {"threads_m": m, "threads_n": n}
