"""Searches a model's widths and precisions under a limit of latency or of lost accuracy.

For several shares of the latency, the width of each group of channels and the precision of each layer are chosen
together (:mod:`optimizer.joint`), what is left learns from the original (:mod:`optimizer.distill`), and is quantized
(:mod:`optimizer.quantize`). All candidates are compiled and measured in turns with the original, so their latencies are
those of whole models. Widths alone, by any cost, are baselines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optimizer.prune import COSTS, STEP
from optimizer.torchrun import processes
from optimizer.training.settings import Training

if TYPE_CHECKING:  # imported on first use, because that takes seconds
    import numpy as np
    import onnx

    from optimizer.candidates import Made
    from optimizer.plan import Plan
    from optimizer.pruning.fitting import Limit
    from optimizer.training.labelled import Labelled

SHARES = (0.8, 0.65, 0.5, 0.4)  # of the latency of the original
FLOAT32, INT8, MIXED = "float32", "int8", "mixed"
ORIGINAL, JOINT = "original", "joint"
BY: Mapping[str, str] = {
    JOINT: "widths and precisions together, by times of our kernels",
    **{name: f"widths alone, by {about}; in float32 and in int8" for name, about in COSTS.items()},
}
BATCH = 64  # samples that are computed at once for an accuracy
MEASURE_SECS = 1.0  # of each candidate


@dataclass(frozen=True)
class Candidate:
    """A model with some of the channels, in some precisions.

    Attributes:
        by: a key of :data:`BY`, or ``original``.
        share: of the original's latency, as measured when it was chosen; 1 for the original.
        precision: ``float32``, ``int8``, or ``mixed``.
        plan: the channels that stay; None for the original.
        model: the ONNX model.
        parameters: elements of its floating-point and integer weights.
        accuracy: the share of validation samples with the right label.
        latency: seconds of a run of the compiled model, one sample at once.
        best: whether no other candidate is both faster and as accurate.
        in_float: of a mixed one, the layers that are not quantized, by name.
    """

    by: str
    share: float
    precision: str
    plan: Plan | None
    model: onnx.ModelProto
    parameters: int
    accuracy: float
    latency: float
    best: bool = False
    in_float: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON, without the model."""
        names = ("by", "share", "precision", "parameters", "accuracy", "latency", "best")
        return {name: getattr(self, name) for name in names} | {"in_float": list(self.in_float)}


@dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        candidates: the first one is the original.
        chosen: the one that meets the limit best; None if none does.
        unreached: limits that no choice reaches.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    unreached: tuple[Limit, ...]


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
    by: Sequence[str] = (JOINT,),
    step: int = STEP,
    threads: int = 1,
    training_threads: int | None = None,
    progress: Callable[[float], None] | None = None,
    records: str | Path | None = None,
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
        shares: of the original's latency, each between 0 and 1, for which models are made; and for ``latency``.
        importance, step: as for :func:`optimizer.prune`.
        by: how they are chosen: keys of :data:`BY`.
        threads: of measured runs.
        training_threads: of PyTorch; None leaves the number to it.
        progress: is called with the finished part, from 0 to 1.
        records: a records file that keeps the measured times of our kernels, for the next time.

    Raises:
        ValueError: an argument is not valid, or the data do not fit. The message is one line.
        OSError: a file cannot be read.
        ImportError: a package is missing.
    """
    from compiler.installation import extras

    extras.require("training a model", "training")
    from optimizer.candidates import Maker
    from optimizer.pruning.fitting import Limit
    from optimizer.pruning.prepared import prepared
    from optimizer.training.labelled import labelled

    _check(latency, max_drop, shares, by)
    if processes() > 1:
        raise ValueError("a search measures models, so it runs in one process; run it without torchrun")
    samples = labelled(data() if callable(data) else data)
    kept = None if validation is None else labelled(validation)
    if samples.labels is None or (kept is not None and kept.labels is None):
        raise ValueError("a search needs data with labels")
    training = training or Training()
    if augment is not None:
        from optimizer.training.augment import augment as parsed

        parsed(augment)  # an error shows before anything is measured
    original = prepared(model)
    if kept is None:
        from optimizer.distill import HELD_OUT
        from optimizer.samples import fitting

        batch = fitting(samples.arrays, original).batch
        samples, kept = samples.split(HELD_OUT, training.seed, batch)
    limits = [Limit(share=share) for share in sorted(shares, reverse=True)]
    if latency is not None:
        limits.insert(0, Limit(latency / 1e3))
    file = None if records is None else Path(records)
    maker = Maker(original, samples, kept, training, augment, importance, step, threads, training_threads, file)
    unreached: list[Limit] = []
    made = list(maker.candidates(limits, by, progress or _ignore, unreached))
    candidates = _marked(_measured(made, kept, threads))
    return Found(candidates, _chosen(candidates, latency, max_drop), tuple(unreached))


def _check(latency: float | None, max_drop: float | None, shares: Sequence[float], by: Sequence[str]) -> None:
    if (latency is None) == (max_drop is None):
        raise ValueError("give either a latency or a largest drop")
    if latency is not None and not 0 < latency < math.inf:
        raise ValueError(f"the latency must be a number of milliseconds above 0, got {latency:g}")
    if max_drop is not None and not 0 <= max_drop <= 100:
        raise ValueError(f"the largest drop must be from 0 to 100 percentage points, got {max_drop:g}")
    if not shares or not all(0 < share < 1 for share in shares):
        raise ValueError("shares of the latency must be between 0 and 1")
    if not by or not set(by) <= set(BY):
        raise ValueError(f"choose by one or more of: {', '.join(BY)}; got {', '.join(by) or 'nothing'}")


def _measured(models: Sequence[Made], validation: Labelled, threads: int) -> list[Candidate]:
    """Measures all models in turns; a latency is the median."""
    from compiler.measure.sampling import measure
    from compiler.program.random_inputs import random_inputs
    from optimizer.pruning.fitting import compiled
    from optimizer.training.teachers import OnnxTeacher, accuracy

    runs = {}
    for index, made in enumerate(models):
        program = compiled(made.model, threads)
        runs[str(index)] = partial(program.run, random_inputs(program.inputs))
    medians = [samples.latencies.median for samples in measure(runs, MEASURE_SECS).values()]
    found = []
    for made, secs in zip(models, medians, strict=True):
        right = accuracy(OnnxTeacher(made.model, threads), validation, BATCH, "cpu") or 0.0  # there are labels
        size = _parameters(made.model)
        found.append(
            Candidate(
                made.by, made.share, made.precision, made.plan, made.model, size, right, secs, in_float=made.in_float
            )
        )
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
        marked.append(replace(one, best=not better))
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
