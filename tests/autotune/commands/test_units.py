from __future__ import annotations

import math

import pytest

from autotune.commands.units import change_text, secs_text


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (12.34, "12.3 s"),
        (1.0, "1.00 s"),
        (0.01234, "12.3 ms"),
        (1e-3, "1.00 ms"),
        (999e-6, "999 µs"),
        (2.5e-6, "2.50 µs"),
        (2.56e-7, "256 ns"),
        (1234.0, "1234 s"),
        (0.0, "0 s"),
        (math.inf, "inf s"),
    ],
)
def test_seconds_have_three_digits_and_a_unit(secs: float, text: str) -> None:
    assert secs_text(secs) == text


def test_a_change_is_in_percent() -> None:
    assert change_text(2.0, 1.0) == "-50.0%"
    assert change_text(1.0, 1.1) == "+10.0%"
