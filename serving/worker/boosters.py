"""What models of XGBoost and LightGBM have in common: a matrix goes in, ``prediction`` comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.worker.model import Spec


class Booster:
    """``predict`` takes a float32 matrix of ``features`` columns and returns a number or a row of them for each row."""

    def __init__(self, features: int, predict: Callable[[np.ndarray], np.ndarray]) -> None:
        self._features = features
        self._predict = predict

    def load(self, folder: Path, threads: int, parameters: Mapping[str, str]) -> None:
        pass

    def inputs(self) -> Sequence[Spec]:
        return [("X", "FP32", (-1, self._features))]

    def outputs(self) -> Sequence[Spec]:
        return [("prediction", "FP32", (-1, -1))]

    def run(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        x = inputs["X"]
        return {"prediction": np.asarray(self._predict(x), np.float32).reshape(len(x), -1)}

    def close(self) -> None:
        pass
