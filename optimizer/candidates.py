"""Makes the candidates of a search: smaller models, trained and quantized, that are not measured yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from optimizer.data import LABELS
from optimizer.distill import distill
from optimizer.joint import Joint, JointChoice, quantized
from optimizer.plan import Plan
from optimizer.prune import Problem, checked_importance, plan_within, problem_of
from optimizer.pruning.fitting import Limit, TooSlowError
from optimizer.quantize import quantize
from optimizer.samples import fitting
from optimizer.search import FLOAT32, INT8, JOINT, MIXED, ORIGINAL
from optimizer.training.labelled import Labelled
from optimizer.training.ranks import joined
from optimizer.training.settings import Training

CALIBRATION = 64  # samples


@dataclass(frozen=True)
class Made:
    """A model that is not measured yet; see :class:`optimizer.search.Candidate`."""

    by: str
    precision: str
    plan: Plan | None
    model: onnx.ModelProto
    in_float: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        latency = None if self.plan is None else self.plan.latency
        return 1.0 if latency is None else latency.after / latency.before


@dataclass(frozen=True)
class Maker:
    """Makes candidates of one model.

    Attributes:
        original: the prepared model.
        samples, validation: with labels.
        training, augment: as for :func:`optimizer.distill`.
        importance, step: as for :func:`optimizer.prune`.
        threads: of measured runs.
        training_threads: of PyTorch; None leaves the number to it.
        records: a records file that keeps the times of our kernels; None keeps nothing.
    """

    original: onnx.ModelProto
    samples: Labelled
    validation: Labelled
    training: Training
    augment: str | None
    importance: str | None
    step: int
    threads: int
    training_threads: int | None
    records: Path | None = None

    def candidates(
        self, limits: Sequence[Limit], by: Sequence[str], show: Callable[[float], None], unreached: list[Limit]
    ) -> Iterator[Made]:
        """Yields the original in both precisions, and for each limit the models of each way to choose.

        Args:
            limits: of latency.
            by: keys of :data:`optimizer.search.BY`.
            show: is called with the finished part, from 0 to 1.
            unreached: takes the limits that no choice reaches.
        """
        yield Made(ORIGINAL, FLOAT32, None, self.original)
        yield Made(ORIGINAL, INT8, None, quantize(self.original, self._calibration, threads=self.threads).model)
        tasks = [(limit, each) for limit in limits for each in by]
        for done, (limit, each) in enumerate(tasks):
            show(done / len(tasks))
            try:
                choice = self._chosen(limit, each)
            except TooSlowError:
                if limit not in unreached:
                    unreached.append(limit)
                continue
            latency = choice.plan.latency
            if latency is not None and latency.after < latency.before:  # else the original is within the limit
                yield from self._models(each, choice)

    def _chosen(self, limit: Limit, by: str) -> JointChoice:
        if by == JOINT:
            return self._joint.chosen(limit, self._importance)
        plan = plan_within(self._problem, limit, self._importance, by, self.threads, self.records)
        return JointChoice(plan, None)

    def _models(self, by: str, choice: JointChoice) -> Iterator[Made]:
        learned = self._learned(choice.plan)
        if by != JOINT:  # a choice of widths alone
            yield Made(by, FLOAT32, choice.plan, learned)
            yield Made(by, INT8, choice.plan, quantize(learned, self._calibration, threads=self.threads).model)
            return
        found = quantized(learned, self._calibration, choice.in_float, self.threads)
        if found is None:
            yield Made(by, FLOAT32, choice.plan, learned)
        else:
            precision = MIXED if choice.in_float else INT8
            yield Made(by, precision, choice.plan, found.model, choice.in_float or ())

    def _learned(self, plan: Plan) -> onnx.ModelProto:
        if all(len(group.kept) == group.channels for group in plan.groups):
            return self.original
        return distill(
            plan.apply_prepared(self.original),
            [self.original],
            _with_labels(self.samples),
            _with_labels(self.validation),
            training=self.training,
            augment=self.augment,
            threads=self.training_threads,
        ).model

    @cached_property
    def _importance(self) -> str:
        return checked_importance(self.importance, _with_labels(self.samples))

    @cached_property
    def _problem(self) -> Problem:
        with joined("cpu") as ranks:
            data = _with_labels(self.samples)
            return problem_of(self.original, data, self._importance, self.threads, self.step, ranks=ranks)

    @cached_property
    def _joint(self) -> Joint:
        return Joint.of(self._problem, self._calibration, self.threads, self.records)

    @cached_property
    def _calibration(self) -> dict[str, np.ndarray]:
        """Random samples: as many as the model takes at once, or a multiple."""
        batch = fitting(self.samples.arrays, self.original).batch
        count = min(max(batch, CALIBRATION // batch * batch), len(self.samples) // batch * batch)
        chosen = np.random.default_rng(self.training.seed).permutation(len(self.samples))[:count]
        return dict(self.samples.at(np.sort(chosen)).arrays)


def _with_labels(samples: Labelled) -> dict[str, Any]:
    return {**samples.arrays, LABELS: samples.labels}
