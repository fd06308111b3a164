"""Summaries over several results."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from benchmarks.summary import by_threads, geometric_mean, ours


@dataclass(frozen=True)
class Comparison:
    name: str
    threads: int


def test_comparisons_are_grouped_by_threads() -> None:
    a, b, c = Comparison("a", 2), Comparison("b", 1), Comparison("c", 2)
    assert list(by_threads([a, b, c])) == [(1, [b]), (2, [a, c])]


def test_the_tuned_implementation_counts_if_it_exists() -> None:
    assert ours(["default", "oneDNN"]) == "default"
    assert ours(["default", "tuned"]) == "tuned"


def test_geometric_mean() -> None:
    assert geometric_mean([0.5, 2.0, 1.0]) == pytest.approx(1)
    assert geometric_mean([4.0, 9.0]) == pytest.approx(6)
