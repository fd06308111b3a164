from __future__ import annotations

import json

import pytest

from autotune.commands.result import HEADINGS, Limits, rows, table
from tests.autotune.commands.search_results import CLASSIFIER, LIMITS, RESULTS, SQUARE


def test_the_roofline_is_the_lower_of_both_roofs() -> None:
    assert LIMITS.roofline_gflops(SQUARE) == pytest.approx(200)
    assert LIMITS.roofline_gflops(CLASSIFIER) == pytest.approx(4e6 / 8.012e6 * 50)


def test_figures_follow_from_the_median() -> None:
    square, _, classifier = RESULTS
    assert square.gflops == pytest.approx(200)
    assert square.fraction_of_peak == pytest.approx(1)
    assert classifier.gflops == pytest.approx(4e6 / 0.32048e-3 / 1e9)
    assert classifier.fraction_of_peak == pytest.approx(classifier.gflops / 200)
    assert classifier.fraction_of_roofline == pytest.approx(0.5)


def test_json_has_every_field_and_is_strict() -> None:
    fields = json.loads(json.dumps(RESULTS[0].to_json(), allow_nan=False))
    assert fields == {
        "op": "dense",
        "m": 500,
        "n": 500,
        "k": 500,
        "dtype": "float32",
        "threads": 2,
        "backend": "kernel",
        "strategy": "rl",
        "trials": 3,
        "failures": 1,
        "search_secs": 1.5,
        "median_secs": 1.25e-3,
        "gflops": pytest.approx(200),
        "peak_gflops": 200.0,
        "fraction_of_peak": pytest.approx(1),
        "fraction_of_roofline": pytest.approx(1),
        "schedule": {"backend": "kernel", "values": {"tile": [8, 48], "order": "<m&n>", "pack": True}},
        "history": [None, 2e-3, 1.25e-3],
    }


def test_the_fastest_of_each_shape_wins() -> None:
    assert [row.winner for row in rows(RESULTS)] == ["kernel, by 100%", "", "kernel"]


def test_the_table_has_a_line_a_result_and_aligned_columns() -> None:
    lines = table(rows(RESULTS)).splitlines()
    assert len(lines) == 2 + len(RESULTS)
    assert lines[0].split("  ")[0] == HEADINGS.shape
    end = lines[0].index("GFLOP/s") + len("GFLOP/s")
    assert [line[:end].split()[-1] for line in lines[2:]] == ["200.0", "100.0", "12.5"]
    assert all(line == line.rstrip() for line in lines)


def test_of_two_measured_limits_each_figure_is_the_higher() -> None:
    assert Limits(2, 100.0, 20.0).higher(Limits(2, 90.0, 30.0)) == Limits(2, 100.0, 30.0)
