"""A cost model that learns from all measurements: an ensemble of boosted trees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import xgboost

from autotune.cost_models.features import (
    Features,
    feature_matrix,
    feature_names,
    schedule_features,
    target_features,
    workload_features,
)
from compiler.workloads.machines import MEMORY, peak_flops
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from compiler.workloads.records import Record

FAILURE_MARGIN = math.log(2)  # of a failed schedule over the slowest successful one, in log seconds

_MEMBERS = 8
_TREES = 30  # per member
_PARAMETERS = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 4,
    "eta": 0.3,
    "min_child_weight": 1,
    "lambda": 1.0,
    "subsample": 0.8,
    "colsample_bynode": 0.5,
    "nthread": 1,
}


class CostModel:
    """An ensemble of boosted trees over the features of target, workload and schedule, retrained on each update.

    Its members use different random samples and features. They disagree where too little was measured.

    One model serves all workloads and targets. It learns the slowdown of a schedule relative to an ideal machine
    (:func:`ideal_secs`), so measurements of one shape give a first guess for another.

    With fewer than ``min_samples`` measurements it predicts the ideal for every schedule. With the same seed and the
    same records in the same order it predicts the same numbers.
    """

    def __init__(self, seed: int = 0, min_samples: int = 8) -> None:
        self._seed = seed
        self._min_samples = min_samples
        self._records: list[Record] = []
        self._rows: list[Features] = []
        self._names: list[str] = []
        self._members: list[xgboost.Booster] = []

    @property
    def is_trained(self) -> bool:
        return bool(self._members)

    def update(self, records: Iterable[Record]) -> None:
        """Adds records, including failures, and trains on all records so far."""
        for record in records:
            self._records.append(record)
            self._rows.append(_features(record.workload, record.target, record.schedule))
        if len(self._records) < self._min_samples:
            return
        self._names = feature_names(self._rows)
        data = xgboost.QuantileDMatrix(
            feature_matrix(self._rows, self._names), self._log_slowdowns(), max_bin=_PARAMETERS["max_bin"], nthread=1
        )
        self._members = [
            xgboost.train(_PARAMETERS | {"seed": self._seed * _MEMBERS + i}, data, num_boost_round=_TREES)
            for i in range(_MEMBERS)
        ]

    def predict(self, workload: Workload, target: Target, schedules: Sequence[Schedule]) -> np.ndarray:
        """Returns the natural logarithm of the seconds per run, float64 (len(schedules),). Lower is better."""
        return self.opinions(workload, target, schedules).mean(axis=0)

    def opinions(self, workload: Workload, target: Target, schedules: Sequence[Schedule]) -> np.ndarray:
        """Returns the predictions of each member of the ensemble, float64 (members, len(schedules))."""
        slowdowns = np.zeros((_MEMBERS, len(schedules)))
        if self._members and schedules:
            matrix = feature_matrix([_features(workload, target, s) for s in schedules], self._names)
            slowdowns += [member.inplace_predict(matrix) for member in self._members]
        return math.log(ideal_secs(workload, target)) + slowdowns

    def _log_slowdowns(self) -> np.ndarray:
        """Returns log(seconds / ideal seconds). A failure is ``FAILURE_MARGIN`` above the slowest success."""
        slowdowns = [
            math.log(r.measurement.median_secs / ideal_secs(r.workload, r.target)) if r.measurement.ok else None
            for r in self._records
        ]
        slowest: dict[Workload, float] = {}
        for record, slowdown in zip(self._records, slowdowns, strict=True):
            if slowdown is not None:
                slowest[record.workload] = max(slowdown, slowest.get(record.workload, slowdown))
        fallback = max(slowest.values(), default=0.0)
        return np.array(
            [
                slowest.get(record.workload, fallback) + FAILURE_MARGIN if slowdown is None else slowdown
                for record, slowdown in zip(self._records, slowdowns, strict=True)
            ]
        )


def ideal_secs(workload: Workload, target: Target) -> float:
    """Returns the seconds by the target's peak and its bandwidth of memory, as its machine model has them.

    It is only a common scale for workloads of very different size. The model learns what the machine really reaches.
    """
    peak = peak_flops(target, workload.dtype) * target.num_cores
    return max(workload.flops / peak, workload.bytes / (target.model.bandwidth_gbs(MEMORY, target.num_cores) * 1e9))


def _features(workload: Workload, target: Target, schedule: Schedule) -> Features:
    return {**target_features(target), **workload_features(workload), **schedule_features(schedule)}
