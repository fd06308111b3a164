"""How far the answers of a changed model are from those of the original."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from optimizer.samples import Samples
from optimizer.session import Session

_SMALLEST = 1e-12  # a probability


class Divergence:
    """The Kullback-Leibler divergence of a model's probabilities from those of the original, the mean over samples.

    For outputs that are not scores of classes, the power of the differences over that of the answers.

    Args:
        original: the model.
        samples: for both.
        most: samples that are computed, chosen at random: they may be in order.
        threads: None leaves the number to ONNX Runtime.
    """

    def __init__(self, original: onnx.ModelProto, samples: Samples, most: int, threads: int | None) -> None:
        count = min(len(samples), max(samples.batch, most // samples.batch * samples.batch))  # whole runs
        chosen = np.sort(np.random.default_rng(0).permutation(len(samples))[:count])
        self._samples = Samples({name: array[chosen] for name, array in samples.arrays.items()}, samples.batch)
        self._threads = threads
        self._wanted = self._outputs(original)

    def __call__(self, model: onnx.ModelProto) -> float:
        """Returns the divergence of a model with the original's inputs and outputs."""
        found = self._outputs(model)
        return sum(_of(original, found[name]) for name, original in self._wanted.items())

    def _outputs(self, model: onnx.ModelProto) -> Mapping[str, np.ndarray]:
        session = Session(model, self._threads)
        runs = [session(inputs) for inputs in self._samples]
        names = [name for name, value in runs[0].items() if value.dtype.kind == "f"]
        return {name: np.stack([run[name] for run in runs]).astype(np.float64) for name in names}


def _of(original: np.ndarray, found: np.ndarray) -> float:
    if original.ndim == 3 and original.shape[-1] > 1:  # runs, samples, classes
        if _are_probabilities(original):  # those that integers compute need not add up to 1
            p, q = original, np.maximum(found, 0)
            q = q / np.maximum(q.sum(-1, keepdims=True), _SMALLEST)
        else:
            p, q = _softmax(original), _softmax(found)
        return float((p * np.log(np.maximum(p, _SMALLEST) / np.maximum(q, _SMALLEST))).sum(-1).mean())
    power = float(np.square(original).sum())
    return float(np.square(original - found).sum()) / max(power, _SMALLEST)


def _are_probabilities(scores: np.ndarray) -> bool:
    return bool((scores >= 0).all() and np.allclose(scores.sum(-1), 1, atol=1e-3))


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)
