"""The threads of drawn schedules."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


@st.composite
def splits(draw: st.DrawFn, threads: int) -> dict[str, Any]:
    """Draws the parts of rows and columns, sometimes as schedules of earlier versions have them."""
    m = draw(st.integers(1, threads))
    n = draw(st.integers(1, threads // m))
    older = m * n == threads and draw(st.booleans())
    return {"threads_m": m} if older else {"threads": (m, n)}
