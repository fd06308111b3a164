"""Models of scikit-learn, saved by skops, which loads no code.

The names of inputs and outputs are those of skl2onnx: ``X``; ``label`` of a classifier, with ``probabilities`` if it
has them; ``variable`` of others.
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
        from sklearn.base import is_classifier

        # Its own list lacks internal types of scikit-learn, such as those of trees.
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path.name} is not a file of skops")
        found = skops.io.get_untrusted_types(file=path)
        unknown = [name for name in found if not name.startswith("sklearn.")]
        if unknown:
            raise ValueError(f"{path.name} has types that are not of scikit-learn: {', '.join(unknown)}")
        self.estimator: Any = skops.io.load(path, trusted=found)
        name = type(self.estimator).__name__
        if not hasattr(self.estimator, "predict"):
            raise ValueError(f"{path.name} has a {name}, which has no predict; models with predict are possible")
        if not hasattr(self.estimator, "n_features_in_"):
            raise ValueError(f"{path.name} has a {name} that is not trained on a matrix of features")
        self.is_classifier = is_classifier(self.estimator)
        self._has_probabilities = self.is_classifier and hasattr(self.estimator, "predict_proba")
        x = np.zeros((1, self.estimator.n_features_in_), np.float32)
        if self.is_classifier and np.shape(self.estimator.predict(x)) != (1,):
            raise ValueError(f"{path.name} has a {name} of several labels; one label per row is possible")
        has_text = self.is_classifier and np.asarray(self.estimator.classes_).dtype.kind in "USO"
        self._label = "BYTES" if has_text else "INT64"

    def load(self, folder: Path, threads: int, parameters: Mapping[str, str]) -> None:
        pass

    def inputs(self) -> Sequence[Spec]:
        return [("X", "FP32", (-1, int(self.estimator.n_features_in_)))]

    def outputs(self) -> Sequence[Spec]:
        if not self.is_classifier:
            return [("variable", "FP32", (-1, -1))]
        label: Spec = ("label", self._label, (-1,))
        if not self._has_probabilities:
            return [label]
        return [label, ("probabilities", "FP32", (-1, len(self.estimator.classes_)))]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Any]:
        x = inputs["X"]
        found = np.asarray(self.estimator.predict(x))
        if not self.is_classifier:
            return {"variable": found.astype(np.float32).reshape(len(x), -1)}
        # The class of the largest probability can be another one, as that of SVC.
        outputs: dict[str, Any] = {"label": found.astype(np.int64) if self._label == "INT64" else found}
        if self._has_probabilities:
            outputs["probabilities"] = np.asarray(self.estimator.predict_proba(x), np.float32)
        return outputs

    def close(self) -> None:
        pass


def load(path: Path) -> Sklearn:
    """Raises:
    ValueError: the file has types that skops does not trust, so loading it could run code, or a model that has no
        predictions of one label or of numbers.
    """
    return Sklearn(path)
