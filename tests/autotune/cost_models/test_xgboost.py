from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from autotune.cost_models.xgboost import CostModel, ideal_secs
from autotune.strategies.base import draw
from compiler.workloads.records import Measurement, Record
from compiler.workloads.schedule import Schedule
from compiler.workloads.workload import Workload
from tests.autotune.synthetic import TARGET, WORKLOAD, SyntheticSpace

SPACE = SyntheticSpace()


def drawn(n: int, seed: int) -> list[Schedule]:
    return draw(SPACE, np.random.default_rng(seed), n, ())


def trained_on(schedules: list[Schedule], seed: int = 0) -> CostModel:
    model = CostModel(seed)
    model.update(map(SPACE.record, schedules))
    return model


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.argsort().argsort(), b.argsort().argsort())[0, 1])


def log_secs(schedules: list[Schedule]) -> np.ndarray:
    return np.log([SPACE.secs(schedule) for schedule in schedules])


def test_ideal_until_there_is_enough_to_learn_from() -> None:
    model = trained_on(drawn(7, 0))
    assert not model.is_trained
    np.testing.assert_allclose(model.predict(WORKLOAD, TARGET, drawn(3, 1)), math.log(ideal_secs(WORKLOAD, TARGET)))
    model.update([SPACE.record(SPACE.default())])
    assert model.is_trained


@pytest.mark.parametrize(("samples", "least"), [(8, 0.2), (64, 0.8), (256, 0.93)])
def test_ranks_schedules_it_has_not_seen(samples: int, least: float) -> None:
    seen, unseen = drawn(samples, 0), drawn(500, 1)
    predicted = trained_on(seen).predict(WORKLOAD, TARGET, unseen)
    assert rank_correlation(predicted, log_secs(unseen)) > least


def test_unit_is_log_seconds() -> None:
    unseen = drawn(500, 1)
    predicted = trained_on(drawn(256, 0)).predict(WORKLOAD, TARGET, unseen)
    assert np.abs(predicted - log_secs(unseen)).mean() < 0.1


def test_members_disagree_less_about_measured_schedules() -> None:
    seen, unseen = drawn(64, 0), drawn(64, 1)
    model = trained_on(seen)
    spread = [model.opinions(WORKLOAD, TARGET, schedules).std(axis=0).mean() for schedules in (seen, unseen)]
    assert spread[0] < spread[1]


def test_failures_count_as_slower_than_all_that_ran() -> None:
    # Every schedule that prefetches fails, which no other feature explains.
    schedules = drawn(200, 0)
    records = [
        dataclasses.replace(SPACE.record(s), measurement=Measurement((), "crash"))
        if s.values["prefetch"]
        else SPACE.record(s)
        for s in schedules
    ]
    model = CostModel()
    model.update(records)
    unseen = drawn(100, 1)
    failing = model.predict(WORKLOAD, TARGET, [s.replace(prefetch=8) for s in unseen])
    running = model.predict(WORKLOAD, TARGET, [s.replace(prefetch=0) for s in unseen])
    assert (failing > running).mean() > 0.95


def test_only_failures_still_train() -> None:
    model = CostModel()
    model.update(Record(WORKLOAD, TARGET, s, Measurement((), "crash")) for s in drawn(10, 0))
    assert np.isfinite(model.predict(WORKLOAD, TARGET, drawn(3, 1))).all()


def test_earlier_shapes_help_the_next() -> None:
    smaller = Workload.dense(128, 768, 768)
    scale = smaller.flops / WORKLOAD.flops
    records = [Record(smaller, TARGET, s, Measurement((SPACE.secs(s) * scale,))) for s in drawn(128, 0)]
    model = CostModel()
    model.update(records)
    unseen = drawn(300, 1)
    predicted = model.predict(WORKLOAD, TARGET, unseen)
    assert rank_correlation(predicted, log_secs(unseen)) > 0.8
    assert np.abs(predicted - log_secs(unseen)).mean() < 0.3


def test_same_seed_and_records_same_predictions() -> None:
    unseen = drawn(50, 1)
    first, again, other = (trained_on(drawn(40, 0), seed).predict(WORKLOAD, TARGET, unseen) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_schedules() -> None:
    assert trained_on(drawn(8, 0)).predict(WORKLOAD, TARGET, []).shape == (0,)
