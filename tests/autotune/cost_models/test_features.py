from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.cost_models.features import (
    SpaceEncoding,
    choice_features,
    feature_matrix,
    feature_names,
    log2_size,
    schedule_features,
    target_features,
    workload_features,
)
from compiler.workloads.schedule import Decision, Schedule
from compiler.workloads.workload import Workload
from tests.autotune.synthetic import TARGET, SyntheticSpace, every


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40))
def test_log2_size_keeps_order(a: int, b: int) -> None:
    assert (log2_size(a) < log2_size(b)) == (a < b)


def test_target_features_are_log2() -> None:
    features = target_features(TARGET)
    assert features["target.vector_bits"] == 9
    assert features["target.num_vector_registers"] == 5
    assert features["target.cache_bytes[1]"] == 21
    assert features["target.isa=avx512"] == 1
    assert features["target.isa=avx2"] == 0


def test_measured_figures_are_not_features() -> None:
    assert target_features(dataclasses.replace(TARGET, peak_gflops=100.0)) == target_features(TARGET)


def test_workload_features() -> None:
    features = workload_features(Workload.dense(2, 1024, 64, epilogue=("bias", "gelu")))
    assert (features["workload.m"], features["workload.n"], features["workload.k"]) == (1, 10, 6)
    assert features["workload.flops"] == 18
    assert features["workload.intensity"] == pytest.approx(features["workload.flops"] - features["workload.bytes"])
    assert features["workload.epilogue=gelu"] == 1
    assert features["workload.epilogue=relu"] == 0


def test_features_of_every_operator() -> None:
    convolution = workload_features(Workload.conv2d(1, 56, 56, 64, 128, 3, padding=1, dtype="bfloat16"))
    assert convolution["workload.o"] == 7
    assert convolution["workload.pad_top"] == 0
    assert convolution["workload.op=conv2d"] == convolution["workload.dtype=bfloat16"] == 1
    assert convolution["workload.op=dense"] == convolution["workload.dtype=float32"] == 0
    unpadded = workload_features(Workload.conv2d(1, 56, 56, 64, 128, 3))
    assert unpadded["workload.pad_top"] == -1
    attention = workload_features(Workload.attention(1, 12, 128, 128, 64))
    assert attention["workload.head_dim"] == 6
    for features in (convolution, unpadded, attention):
        assert all(map(math.isfinite, features.values()))


def test_choice_features_by_type() -> None:
    assert choice_features("pack", True) == {"pack": 1.0}
    assert choice_features("mc", 64) == {"mc": 6.0}
    assert choice_features("mc", 1) == {"mc": 0.0}  # and not the cached features of True
    assert choice_features("order", "mn") == {"order=mn": 1.0}
    assert choice_features("tile", (2, 4, 8)) == {
        "tile[0]": 1.0,
        "tile[1]": 2.0,
        "tile[2]": 3.0,
        "tile[0:]": 6.0,
        "tile[1:]": 5.0,
    }


def test_products_pair_numbers_and_tiles_of_one_level() -> None:
    features = schedule_features(Schedule("x", {"mr": 4, "nr": 32, "pack": True, "i": (2, 8), "j": (4, 2, 16)}))
    products = {name: value for name, value in features.items() if "*" in name}
    assert products == {"mr*nr": 7.0, "i[1:]*j[2:]": 7.0, "i[0:]*j[1:]": 9.0}


def test_matrix_fills_missing_features() -> None:
    rows = [choice_features("order", "mn"), choice_features("mc", 8)]
    names = feature_names(rows)
    assert names == ["order=mn", "mc"]
    np.testing.assert_array_equal(feature_matrix(rows, names), np.array([[1, math.nan], [0, 3]], np.float32))
    assert feature_matrix([], names).shape == (0, 2)


def test_encodings_of_schedules_differ_and_have_bounds() -> None:
    space = SyntheticSpace()
    choices = np.array([space.choices(schedule) for schedule in every(space)[::7]])
    vectors = SpaceEncoding(space)(choices)
    assert vectors.shape == (len(choices), len(SpaceEncoding(space).names))
    assert vectors.min() == 0
    assert vectors.max() == 1
    assert len(np.unique(vectors, axis=0)) == len(choices)


def test_encoding_of_mixed_choices_is_finite() -> None:
    space = SyntheticSpace()
    space.decisions = (Decision("mixed", ("auto", 1, 8, (2, 4), (1, 2, 4))),)
    vectors = SpaceEncoding(space)(np.arange(5)[:, None])
    assert np.isfinite(vectors).all()
    assert len(np.unique(vectors, axis=0)) == 5
