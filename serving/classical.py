"""Classical models as ONNX: those of scikit-learn, XGBoost and LightGBM, which ONNX Runtime runs without Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler.installation.extras import require
from serving.worker.boosters import Booster

_CHECKED_ROWS = 64
_LARGEST_DIFFERENCE = 1e-4  # of float32 sums of hundreds of trees in two orders


class NotConvertible(ValueError):
    """The converter has no rule for a model, or its ONNX form gives other answers. The message is one line."""


@dataclass(frozen=True)
class _Kind:
    file: str  # in the folder of a version
    convert: Callable[[Path], bytes]


def served_name(source: Path) -> str | None:
    """Returns the name that a file has in the folder of a version; None: it is not a classical model."""
    kind = _KINDS.get(source.suffix)
    return kind.file if kind else None


def to_onnx(source: Path) -> bytes:
    """Converts a model, and compares the answers of both, labels too, on random rows.

    Args:
        source: a file of skops (``.skops``), XGBoost (``.ubj``, ``.json``) or LightGBM (``.txt``).

    Raises:
        NotConvertible: it must run in Python.
        ValueError: the file is not such a model.
        ModuleNotFoundError: a package is not installed.
    """
    require("converting a classical model", "classical")
    kind = _KINDS[source.suffix]
    return kind.convert(source)


def _sklearn(source: Path) -> bytes:
    import skl2onnx

    from serving.worker.sklearn import load

    model = load(source)
    features = model.inputs()[0][2][1]
    # Without probabilities there are no dictionaries of them, which zipmap is about.
    options = {id(model.estimator): {"zipmap": False}} if len(model.outputs()) == 2 else None
    proto = _converted(lambda: skl2onnx.to_onnx(model.estimator, np.zeros((1, features), np.float32), options=options))
    del proto.graph.output[len(model.outputs()) :]  # "probabilities" of a classifier that has none
    if [output.name for output in proto.graph.output] != [name for name, _, _ in model.outputs()]:
        raise NotConvertible("its ONNX form has other outputs")
    return _checked(proto, model)


def _xgboost(source: Path) -> bytes:
    import xgboost
    from onnxmltools import convert_xgboost

    from serving.worker.xgboost import load

    model = load(source)
    booster = xgboost.Booster(model_file=source)
    return _checked(_converted(lambda: convert_xgboost(booster, initial_types=_types(model))), model)


def _lightgbm(source: Path) -> bytes:
    import lightgbm
    from onnxmltools import convert_lightgbm

    from serving.worker.lightgbm import load

    model = load(source)
    booster = lightgbm.Booster(model_file=source)
    proto = _converted(lambda: convert_lightgbm(booster, initial_types=_types(model), zipmap=False))
    return _checked(proto, model)


def _types(model: Any) -> list[tuple[str, Any]]:
    from onnxmltools.convert.common.data_types import FloatTensorType

    return [("X", FloatTensorType([None, model.inputs()[0][2][1]]))]


def _converted(convert: Callable[[], Any]) -> Any:
    try:
        return convert()
    except Exception as error:  # converters raise what they like
        raise NotConvertible(f"it cannot be converted to ONNX: {' '.join(str(error).split())[:300]}") from error


def _checked(proto: Any, model: Any) -> bytes:
    """Returns the bytes of an ONNX model whose last outputs are those of ``model``."""
    import onnxruntime as ort

    data = proto.SerializeToString()
    how = ort.SessionOptions()
    how.log_severity_level = 3  # some declare shapes that they do not have
    session = ort.InferenceSession(data, how, providers=["CPUExecutionProvider"])
    for x in _rows(model):
        expected = list(model.run({"X": x}).values())
        found = session.run(None, {"X": x})[-len(expected) :]  # those of boosters have a label before
        if not all(_is_same(*pair) for pair in zip(expected, found, strict=True)):
            raise NotConvertible("its ONNX form gives other answers")
    return data


def _rows(model: Any) -> list[np.ndarray]:
    """Returns matrices with usual values, zeros, large values and, for boosters, missing ones."""
    rng = np.random.default_rng(0)
    usual = rng.normal(0, 2, (_CHECKED_ROWS, model.inputs()[0][2][1])).astype(np.float32)
    rows = [usual, np.zeros_like(usual[:1]), usual * 1000]
    if isinstance(model, Booster):  # skl2onnx has no branches for missing values of forests
        rows += [np.where(rng.random(usual.shape) < 0.3, np.float32(np.nan), usual), np.full_like(usual[:1], np.nan)]
    return rows


def _is_same(expected: np.ndarray, found: Any) -> bool:
    if expected.dtype != np.float32:  # labels
        return np.array_equal(expected, found)
    numbers = np.asarray(found, np.float32).reshape(len(expected), -1)
    if expected.shape[1] == 1 and numbers.shape[1] == 2:  # the converters give both probabilities of two classes
        numbers = numbers[:, 1:]
    return numbers.shape == expected.shape and np.allclose(
        numbers, expected, _LARGEST_DIFFERENCE, _LARGEST_DIFFERENCE, equal_nan=True
    )


_KINDS: Mapping[str, _Kind] = {
    ".skops": _Kind("model.skops", _sklearn),
    ".ubj": _Kind("model.ubj", _xgboost),
    ".json": _Kind("model.json", _xgboost),
    ".txt": _Kind("model.txt", _lightgbm),
}
