"""Models of scikit-learn, XGBoost and LightGBM, as ONNX and in workers. The oracle is the library itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import classical
from serving.admin import Admin
from serving.worker.boosters import Booster
from serving.worker.sklearn import Sklearn, load
from tests.serving.client import Server

pytest.importorskip("lightgbm")
pytest.importorskip("onnxmltools")
pytest.importorskip("skl2onnx")
pytest.importorskip("skops")
pytest.importorskip("xgboost")

Made = tuple[Path, Callable[[np.ndarray], np.ndarray]]
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(120, 4)).astype(np.float32)
THREE = np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])


def sklearn_model(folder: Path, estimator: Any, y: Any) -> Made:
    import skops.io

    estimator.fit(X, y)
    skops.io.dump(estimator, folder / "m.skops")
    classifier = hasattr(estimator, "predict_proba")
    return folder / "m.skops", estimator.predict_proba if classifier else estimator.predict


def forest(folder: Path) -> Made:
    from sklearn.ensemble import RandomForestClassifier

    return sklearn_model(folder, RandomForestClassifier(5, random_state=0), THREE)


def scaled_ridge(folder: Path) -> Made:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return sklearn_model(folder, make_pipeline(StandardScaler(), Ridge()), X[:, 0])


def without_converter(folder: Path) -> Made:
    from sklearn.semi_supervised import LabelSpreading

    return sklearn_model(folder, LabelSpreading(), THREE)


def xgboost_model(folder: Path) -> Made:
    import xgboost

    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3}, xgboost.DMatrix(X, THREE), 5)
    booster.save_model(folder / "m.ubj")
    return folder / "m.ubj", lambda x: booster.predict(xgboost.DMatrix(x))


def lightgbm_model(folder: Path) -> Made:
    import lightgbm

    booster = lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(X, X[:, 0]), 5)
    booster.save_model(folder / "m.txt")
    return folder / "m.txt", lambda x: np.asarray(booster.predict(x))


def last_output(server: Server, x: np.ndarray) -> np.ndarray:
    name = server.request("GET", "/v2/models/m").json["inputs"][0]["name"]
    tensor = {"name": name, "datatype": "FP32", "shape": list(x.shape), "data": x.ravel().tolist()}
    answer = server.request("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}))
    assert answer.status == 200, answer.body
    output = answer.json["outputs"][-1]
    return np.array(output["data"], np.float32).reshape(len(x), -1)


@pytest.mark.parametrize("make", [forest, scaled_ridge, without_converter, xgboost_model, lightgbm_model])
def test_a_model_in_a_worker_and_after_its_upload(start: Callable[..., Server], tmp_path: Path, make: Any) -> None:
    source, predict = make(tmp_path)
    name = classical.served_name(source)
    assert name
    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    source.rename(tmp_path / "repository" / "m" / "1" / name)
    (tmp_path / "token").write_text("0123456789abcdef")
    server = start("--admin-port", "0", "--admin-token-file", str(tmp_path / "token"))
    x = RANDOM.normal(size=(7, 4)).astype(np.float32)
    expected = np.asarray(predict(x), np.float32).reshape(7, -1)
    np.testing.assert_allclose(last_output(server, x), expected, 1e-4, 1e-5)

    (tmp_path / "repository" / "m" / "1" / name).rename(source)
    folder = tmp_path / "converted"
    folder.mkdir()
    if make is without_converter:
        with pytest.raises(classical.NotConvertible):
            classical.to_onnx(source)
        return
    (folder / "model.onnx").write_bytes(classical.to_onnx(source))
    reason = Admin("127.0.0.1", server.ports["admin"], "0123456789abcdef").upload("m", 2, folder)
    assert reason == ""
    np.testing.assert_allclose(last_output(server, x), expected, 1e-4, 1e-5)
    assert server.request("GET", "/v2/models/m").json["platform"] == "onnxruntime_onnx"
    assert server.index("m")[2][1].startswith("ONNX Runtime runs it, because ")


@pytest.mark.parametrize("kind", ["SVC", "SVC with text", "LinearSVC", "LinearSVC with text"])
def test_labels_are_those_of_predict(tmp_path: Path, kind: str) -> None:
    """Also without probabilities, and where the class of the largest one is another."""
    import onnxruntime
    from sklearn.svm import SVC, LinearSVC

    estimator: Any = LinearSVC() if kind.startswith("LinearSVC") else SVC(random_state=0).set_params(probability=True)
    source, _ = sklearn_model(tmp_path, estimator, np.array(["a", "b", "c"])[THREE] if "text" in kind else THREE)
    model = load(source)
    expected = estimator.predict(X)
    found = model.run({"X": X})
    np.testing.assert_array_equal(found["label"], expected)
    assert model.outputs()[0] == ("label", "BYTES" if "text" in kind else "INT64", (-1,))
    assert list(found) == [name for name, _, _ in model.outputs()]
    assert ("probabilities" in found) == hasattr(estimator, "predict_proba")
    session = onnxruntime.InferenceSession(classical.to_onnx(source), providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == list(found)
    np.testing.assert_array_equal(session.run(["label"], {"X": X})[0], expected)


def test_models_without_one_label_or_numbers(tmp_path: Path) -> None:
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    source, _ = sklearn_model(tmp_path, DecisionTreeClassifier(), np.stack([THREE, THREE], 1))
    with pytest.raises(ValueError, match="of several labels; one label per row is possible"):
        load(source)
    skops_io = pytest.importorskip("skops.io")
    skops_io.dump(StandardScaler().fit(X), source)
    with pytest.raises(ValueError, match="StandardScaler, which has no predict"):
        load(source)


@pytest.mark.parametrize("change", ["label", "number", "missing"])
def test_a_conversion_with_other_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    """The model, not its ONNX form, is changed: the comparison is the same."""
    if change == "label":
        source, _ = forest(tmp_path)
        run = Sklearn.run
        monkeypatch.setattr(Sklearn, "run", lambda self, x: {**run(self, x), "label": run(self, x)["label"] + 1})
    else:
        source, _ = xgboost_model(tmp_path)
        answers = Booster.run

        def changed(self: Booster, inputs: Any) -> Any:
            wrong = np.isnan(inputs["X"]).any(axis=1, keepdims=True) if change == "missing" else True
            return {
                "prediction": answers(self, inputs)["prediction"] + np.where(wrong, np.float32(0.01), np.float32(0))
            }

        monkeypatch.setattr(Booster, "run", changed)
    with pytest.raises(classical.NotConvertible, match="other answers"):
        classical.to_onnx(source)


def test_a_file_with_code(start: Callable[..., Server], tmp_path: Path) -> None:
    import skops.io
    from sklearn.preprocessing import FunctionTransformer

    (tmp_path / "repository" / "m" / "1").mkdir(parents=True)
    skops.io.dump(FunctionTransformer(json.dumps), tmp_path / "repository" / "m" / "1" / "model.skops")
    server = start()
    reason = server.wait_for_state(1, "UNAVAILABLE", "m")
    assert reason == "model.skops has types that are not of scikit-learn: json.dumps"


@pytest.mark.parametrize(
    ("suffix", "data"), [(".ubj", b"{no"), (".json", b"{}"), (".txt", b"tree"), (".skops", b"PK" * 99)]
)
def test_a_file_that_is_not_a_model(tmp_path: Path, suffix: str, data: bytes) -> None:
    source = tmp_path / f"m{suffix}"
    source.write_bytes(data)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        classical.to_onnx(source)
