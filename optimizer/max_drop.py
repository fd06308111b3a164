"""Keeps layers in floating point until a quantized model loses little accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from optimizer.precision_choice import LayerError, fewest, with_floats
from optimizer.samples import Samples
from optimizer.session import Session


@dataclass(frozen=True)
class Accuracy:
    """What quantization loses on the samples.

    Attributes:
        of_labels: whether it is the share of samples whose largest score is the label's; otherwise, the share whose
            largest score is that of the original.
        before, after: of the original, and of the quantized model.
        in_float: names of layers that stayed in floating point for it, those of the largest errors.
    """

    of_labels: bool
    before: float
    after: float
    in_float: tuple[str, ...]


@dataclass(frozen=True)
class Scores:
    """The output with classes, and the class that counts as right for each sample."""

    output: str
    right: np.ndarray
    before: float
    of_labels: bool

    @classmethod
    def of(cls, answers: Sequence[Mapping[str, np.ndarray]], labels: np.ndarray | None) -> Scores:
        names = [name for name, value in answers[0].items() if value.dtype.kind == "f" and value.ndim == 2]
        if not names or answers[0][names[0]].shape[1] < 2:
            raise ValueError("max_drop needs an output of shape (samples, classes)")
        found = np.concatenate([each[names[0]].argmax(1) for each in answers])
        if labels is None:
            return cls(names[0], found, 1.0, False)
        right = np.asarray(labels)
        classes = answers[0][names[0]].shape[1]
        if right.shape != found.shape or right.dtype.kind not in "iu" or right.min() < 0 or right.max() >= classes:
            raise ValueError(
                f"labels must be whole numbers from 0 to {classes - 1}, one for each of {len(found)} samples; "
                f"got {right.dtype} of shape {right.shape}"
            )
        return cls(names[0], right, float((found == right).mean()), True)

    def __call__(self, model: onnx.ModelProto, samples: Samples, threads: int | None) -> float:
        """Returns the share of right classes."""
        session = Session(model, threads)
        found = np.concatenate([session(inputs)[self.output].argmax(1) for inputs in samples])
        return float((found == self.right).mean())


def within(
    max_drop: float,
    original: onnx.ModelProto,
    quantized: onnx.ModelProto,
    table: Sequence[LayerError],
    samples: Samples,
    scores: Scores,
    threads: int | None,
) -> tuple[onnx.ModelProto, Accuracy]:
    """Returns a model with few layers in floating point, those of the largest errors, that is within ``max_drop``."""
    worst = [error.layer for error in table]
    models: dict[int, tuple[onnx.ModelProto, float]] = {}

    def suffices(count: int) -> bool:
        model = with_floats(quantized, original, worst[:count]) if count else quantized
        models[count] = model, scores(model, samples, threads)
        return 100 * (scores.before - models[count][1]) <= max_drop + 1e-9

    if not suffices(len(worst)):
        lost = 100 * (scores.before - models[len(worst)][1])
        raise ValueError(
            f"at most {max_drop:g} percentage points may be lost, but {lost:.2f} are with all layers in floating point"
        )
    count = fewest(len(worst), suffices)
    model, after = models[count]
    return model, Accuracy(scores.of_labels, scores.before, after, tuple(worst[:count]))
