"""Models of scikit-learn, saved by skops, which loads no code.

The names of inputs and outputs are those of skl2onnx: ``X``; ``label`` and ``probabilities`` of a classifier,
``variable`` of others.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serving.worker.model import Spec


class Sklearn:
    """``estimator`` is the loaded model."""

    def __init__(self, path: Path) -> None:
        import skops.io

        # Its own list lacks internal types of scikit-learn, such as those of trees.
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path.name} is not a file of skops")
        found = skops.io.get_untrusted_types(file=path)
        unknown = [name for name in found if not name.startswith("sklearn.")]
        if unknown:
            raise ValueError(f"{path.name} has types that are not of scikit-learn: {', '.join(unknown)}")
        self.estimator: Any = skops.io.load(path, trusted=found)
        self._is_classifier = hasattr(self.estimator, "predict_proba")
        has_text = self._is_classifier and np.asarray(self.estimator.classes_).dtype.kind in "USO"
        self._label = "BYTES" if has_text else "INT64"

    def load(self, folder: Path, threads: int, parameters: Mapping[str, str]) -> None:
        pass

    def inputs(self) -> Sequence[Spec]:
        return [("X", "FP32", (-1, int(self.estimator.n_features_in_)))]

    def outputs(self) -> Sequence[Spec]:
        if not self._is_classifier:
            return [("variable", "FP32", (-1, -1))]
        return [("label", self._label, (-1,)), ("probabilities", "FP32", (-1, len(self.estimator.classes_)))]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        x = inputs["X"]
        if not self._is_classifier:
            return {"variable": np.asarray(self.estimator.predict(x), np.float32).reshape(len(x), -1)}
        probabilities = np.asarray(self.estimator.predict_proba(x))
        labels = self.estimator.classes_[probabilities.argmax(axis=1)]
        if self._label == "INT64":
            labels = labels.astype(np.int64)
        return {"label": labels, "probabilities": probabilities.astype(np.float32)}

    def close(self) -> None:
        pass


def load(path: Path) -> Sklearn:
    """Raises:
    ValueError: the file has types that skops does not trust, so loading it could run code.
    """
    return Sklearn(path)
