"""Searches a model's widths and precision under a limit of latency or of lost accuracy.

For several shares of the latency, channels are removed by the times of our kernels (:mod:`optimizer.prune`), what is
left learns from the original (:mod:`optimizer.distill`), and is quantized (:mod:`optimizer.quantize`). All candidates
are compiled and measured in turns with the original, so their latencies are those of whole models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.data import LABELS
from optimizer.torchrun import processes
from optimizer.training.settings import Training

if TYPE_CHECKING:  # imported on first use, because that takes seconds
    import numpy as np
    import onnx

    from optimizer.plan import Plan
    from optimizer.training.labelled import Labelled

SHARES = (0.8, 0.65, 0.5, 0.4)  # of the latency of the original
FLOAT32, INT8 = "float32", "int8"
CALIBRATION = 64  # samples
BATCH = 64  # samples that are computed at once for an accuracy
MEASURE_SECS = 1.0  # of each candidate


@dataclass(frozen=True)
class Candidate:
    """A model with some of the channels, in one precision.

    Attributes:
        share: of the original's latency, as measured when channels were removed; 1 with all of them.
        precision: ``float32`` or ``int8``.
        plan: the channels that stay; None with all of them.
        model: the ONNX model.
        parameters: elements of its floating-point and integer weights.
        accuracy: the share of validation samples with the right label.
        latency: seconds of a run of the compiled model, one sample at once.
        best: whether no other candidate is both faster and as accurate.
    """

    share: float
    precision: str
    plan: Plan | None
    model: onnx.ModelProto
    parameters: int
    accuracy: float
    latency: float
    best: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON, without the model."""
        names = ("share", "precision", "parameters", "accuracy", "latency", "best")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        candidates: the first one is the original.
        chosen: the one that meets the limit best; None if none does.
        unreached: limits that no widths reach: (milliseconds, None), or (None, share of the latency).
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    unreached: tuple[tuple[float | None, float | None], ...]


def search(
    model: str | Path | onnx.ModelProto,
    data: Mapping[str, np.ndarray] | Callable[[], Mapping[str, np.ndarray]],
    latency: float | None = None,
    max_drop: float | None = None,
    validation: Mapping[str, np.ndarray] | None = None,
    training: Training | None = None,
    augment: str | None = None,
    shares: Sequence[float] = SHARES,
    importance: str | None = None,
    cost: str = "kernels",
    step: int = 8,
    threads: int = 1,
    training_threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Found:
    """Returns models of several widths and precisions, and the one that meets a limit best.

    Args:
        model: the path of a trained ONNX classifier, or the model, in floating point.
        data: arrays by the names of the inputs, and ``labels``; or a function that returns them.
        latency: milliseconds of one run; the most accurate candidate within is chosen.
        max_drop: percentage points of accuracy that may be lost; the fastest candidate within is chosen. Either this or
            ``latency`` is given.
        validation: the same as ``data``, for samples that are not trained on; by default, a tenth of the data.
        training: of the pruned models, with the original as teacher; :class:`Training` by default.
        augment: changes of images, as for :func:`optimizer.distill`.
        shares: of the original's latency, each between 0 and 1, for which channels are removed; and for ``latency``.
        importance, cost, step: as for :func:`optimizer.prune`.
        threads: of measured runs.
        training_threads: of PyTorch; None leaves the number to it.
        progress: is called with the finished part, from 0 to 1.

    Raises:
        ValueError: an argument is not valid, or the data do not fit. The message is one line.
        OSError: a file cannot be read.
        ImportError: a package is missing.
    """
    from compiler.installation import extras

    extras.require("training a model", "training")
    from optimizer.training.labelled import labelled

    _check(latency, max_drop, shares)
    if processes() > 1:
        raise ValueError("a search measures models, so it runs in one process; run it without torchrun")
    samples = labelled(data() if callable(data) else data)
    kept = None if validation is None else labelled(validation)
    if samples.labels is None or (kept is not None and kept.labels is None):
        raise ValueError("a search needs data with labels")
    training = training or Training()
    if kept is None:
        from optimizer.distill import HELD_OUT

        samples, kept = samples.split(HELD_OUT, training.seed)
    models, unreached = _models(
        model,
        samples,
        kept,
        training,
        augment,
        latency,
        shares,
        importance,
        cost,
        step,
        threads,
        training_threads,
        progress or _ignore,
    )
    candidates = _marked(_measured(models, kept, threads))
    return Found(candidates, _chosen(candidates, latency, max_drop), unreached)


def _check(latency: float | None, max_drop: float | None, shares: Sequence[float]) -> None:
    if (latency is None) == (max_drop is None):
        raise ValueError("give either a latency or a largest drop")
    if latency is not None and not 0 < latency < math.inf:
        raise ValueError(f"the latency must be a number of milliseconds above 0, got {latency:g}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ValueError(f"the largest drop must be from 0 to 100 percentage points, got {max_drop:g}")
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError("shares of the latency must be between 0 and 1")


def _models(
    model: str | Path | onnx.ModelProto,
    samples: Labelled,
    validation: Labelled,
    training: Training,
    augment: str | None,
    latency: float | None,
    shares: Sequence[float],
    importance: str | None,
    cost: str,
    step: int,
    threads: int,
    training_threads: int | None,
    show: Callable[[float], None],
) -> tuple[list[tuple[float, str, Plan | None, onnx.ModelProto]], tuple[tuple[float | None, float | None], ...]]:
    """Returns the candidates without what is measured, and the limits that no widths reach."""
    from optimizer.distill import distill
    from optimizer.prune import prune
    from optimizer.pruning.fitting import TooSlowError
    from optimizer.pruning.prepared import prepared
    from optimizer.quantize import quantize

    original = prepared(model)
    arrays = _with_labels(samples)
    calibration = _calibration(original, samples, training.seed)
    limits: list[tuple[float | None, float | None]] = [(None, share) for share in sorted(shares, reverse=True)]
    if latency is not None:
        limits.insert(0, (latency, None))
    found: list[tuple[float, str, Plan | None, onnx.ModelProto]] = []
    unreached = []

    def add(share: float, plan: Plan | None, smaller: onnx.ModelProto) -> None:
        found.append((share, FLOAT32, plan, smaller))
        found.append((share, INT8, plan, quantize(smaller, calibration, threads=threads).model))

    add(1.0, None, original)
    for index, limit in enumerate(limits):
        show(index / len(limits))
        try:
            plan = prune(original, None, limit[0], arrays, importance, cost, threads, step, share=limit[1])
        except TooSlowError:
            unreached.append(limit)
            continue
        measured = plan.latency
        share = 1.0 if measured is None else measured.after / measured.before
        if share >= 1:  # the original is within the limit
            continue
        learned = distill(
            plan.apply(original),
            [original],
            arrays,
            _with_labels(validation),
            training=training,
            augment=augment,
            threads=training_threads,
        )
        add(share, plan, learned.model)
    return found, tuple(unreached)


def _calibration(model: onnx.ModelProto, samples: Labelled, seed: int) -> dict[str, np.ndarray]:
    """Returns random samples: as many as the model takes at once, or a multiple."""
    import numpy as np

    from optimizer.samples import fitting

    batch = fitting(samples.arrays, model).batch
    count = min(max(batch, CALIBRATION // batch * batch), len(samples) // batch * batch)
    chosen = np.random.default_rng(seed).permutation(len(samples))[:count]
    return dict(samples.at(np.sort(chosen)).arrays)


def _with_labels(samples: Labelled) -> dict[str, np.ndarray]:
    found = dict(samples.arrays)
    if samples.labels is not None:
        found[LABELS] = samples.labels
    return found


def _measured(
    models: Sequence[tuple[float, str, Plan | None, onnx.ModelProto]], validation: Labelled, threads: int
) -> list[Candidate]:
    """Measures all models in turns; a latency is the median."""
    from compiler.measure.sampling import measure
    from compiler.program.random_inputs import random_inputs
    from optimizer.pruning.fitting import compiled
    from optimizer.training.teachers import OnnxTeacher, accuracy

    runs = {}
    for index, (_, _, _, model) in enumerate(models):
        program = compiled(model, threads)
        runs[str(index)] = partial(program.run, random_inputs(program.inputs))
    medians = [samples.latencies.median for samples in measure(runs, MEASURE_SECS).values()]
    found = []
    for (share, precision, plan, model), secs in zip(models, medians, strict=True):
        right = accuracy(OnnxTeacher(model, threads), validation, BATCH, "cpu") or 0.0  # there are labels
        found.append(Candidate(share, precision, plan, model, _parameters(model), right, secs))
    return found


def _parameters(model: onnx.ModelProto) -> int:
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer)


def _marked(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Returns the candidates, of which those are marked that no other one is better than in both respects."""
    marked = []
    for one in candidates:
        better = any(
            other.latency <= one.latency and other.accuracy >= one.accuracy
            for other in candidates
            if (other.latency, other.accuracy) != (one.latency, one.accuracy)
        )
        marked.append(Candidate(**{**vars(one), "best": not better}))
    return tuple(marked)


def _chosen(candidates: Sequence[Candidate], latency: float | None, max_drop: float | None) -> Candidate | None:
    if latency is not None:
        within = [each for each in candidates if each.latency * 1e3 <= latency]
        return max(within, key=lambda each: (each.accuracy, -each.latency), default=None)
    before = candidates[0].accuracy
    within = [each for each in candidates if 100 * (before - each.accuracy) <= (max_drop or 0.0) + 1e-9]
    return min(within, key=lambda each: each.latency)


def _ignore(_part: float) -> None:
    pass
