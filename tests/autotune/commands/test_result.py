from __future__ import annotations

import json

import pytest

from autotune.commands.result import HEADINGS, rows, speed_cell, speed_text, table, workload_text
from compiler.workloads.workload import Workload
from tests.autotune.commands.search_results import ADDITION, RESULTS, SQUARE, result


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


def test_the_table_has_one_line_per_result_and_aligned_columns() -> None:
    lines = table(rows(RESULTS)).splitlines()
    assert len(lines) == 2 + len(RESULTS)
    assert lines[0].split("  ")[0] == HEADINGS.shape
    end = lines[0].index("GFLOP/s") + len("GFLOP/s")
    assert [line[:end].split()[-1] for line in lines[2:]] == ["200.0", "100.0", "12.5"]
    assert all(line == line.rstrip() for line in lines)


def test_the_speed_of_workloads_that_only_move_data_is_in_bytes() -> None:
    assert (ADDITION.flops, ADDITION.bytes) == (0, 1_200_000)
    moved = result(ADDITION, "kernel", (48e-6,))
    assert (moved.gflops, moved.fraction_of_peak, moved.fraction_of_roofline) == (0, 0, pytest.approx(0.5))
    (row,) = rows([moved])
    assert (row.gflops, row.of_peak, row.of_roofline, row.winner) == ("25.0 GB/s", "", "50.0%", "kernel")
    assert [speed_text(SQUARE, 1.25e-3), speed_cell(SQUARE, 1.25e-3)] == ["200.0 GFLOP/s", "200.0"]


def test_a_workload_is_shown_in_the_notation_of_the_command() -> None:
    assert workload_text(Workload.dense(1, 2, 3, epilogue=("bias",))) == "dense 1x2x3 bias"
    assert workload_text(Workload.conv2d(1, 9, 9, 3, 4, 3, padding=1)) == "conv2d 1x9x9x3x4x3x3,padding=1"
