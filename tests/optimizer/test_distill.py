from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from optimizer import Training
from optimizer import distill as distill_
from optimizer.session import Session
from tests.graph_passes.models import model
from tests.optimizer.classes import CLASSES, convolutions, images, perceptron, points

# Small models are faster on one thread.
distill = partial(distill_, threads=1)

ROOT = Path(__file__).resolve().parents[2]
FAST = Training(epochs=8, batch_size=32, learning_rate=0.02)


def weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def same(a: onnx.ModelProto, b: onnx.ModelProto) -> bool:
    return all(np.array_equal(array, weights(b)[name]) for name, array in weights(a).items())


def test_labels_alone() -> None:
    found = distill(perceptron(), [], points(400, 0), points(200, 1), training=FAST)
    assert found.before is not None
    assert found.after is not None
    assert found.after > max(0.9, found.before)
    assert [epoch.number for epoch in found.epochs] == list(range(1, 9))
    assert list(found.epochs[0].losses) == ["labels"]
    validation = points(200, 1)
    answers = Session(found.model)({"x": validation["x"]})["y"].argmax(1)
    assert (answers == validation["labels"]).mean() == pytest.approx(found.after, abs=0.01)


@pytest.mark.parametrize("loss", ["kd", "dist"])
def test_teachers_alone(loss: str) -> None:
    """Without labels, the student comes to say what its teacher says."""
    teacher = distill(perceptron(), [], points(400, 0), training=FAST).model
    data, other = points(400, 2), points(200, 3)
    del data["labels"]
    found = distill(perceptron(8, seed=5), [teacher], data, loss=loss, training=FAST)
    assert found.before is found.after is None
    assert list(found.epochs[0].losses) == ["teachers"]
    assert found.epochs[-1].losses["teachers"] < 0.5 * found.epochs[0].losses["teachers"]
    wanted, found_ = (Session(each)({"x": other["x"]})["y"].argmax(1) for each in (teacher, found.model))
    assert (wanted == found_).mean() > 0.85


def test_images_with_several_teachers_and_changes() -> None:
    first, second = (distill(convolutions(seed=i), [], images(300, i), training=FAST).model for i in (0, 1))
    for change in (None, "flip, shift:2"):
        found = distill(
            convolutions(seed=7),
            [first, second],
            images(300, 4),
            images(100, 5),
            weights="confidence",
            training=FAST,
            augment=change,
        )
        assert found.after is not None
        assert found.after > 0.8
        assert len(found.teachers) == 2
        assert list(found.epochs[0].losses) == ["teachers", "labels"]


def test_features_of_models() -> None:
    """The maps of a narrower student come close to those of its teacher, whose tensor has another name."""
    teacher = distill(convolutions(), [], images(300, 0), training=FAST).model
    losses = {}
    for beta in (1e-6, 20.0):
        found = distill(
            convolutions(seed=7),
            [teacher],
            images(300, 1),
            features={"c": "d"},
            beta=beta,
            training=FAST,
            augment="flip",
        )
        assert list(found.epochs[0].losses) == ["features", "teachers", "labels"]
        losses[beta] = found.epochs[-1].losses["features"] / beta
    assert losses[20.0] < 0.7 * losses[1e-6]


class Folded(torch.nn.Module):
    """Reads memory in the order of ``view``, and has a convolution of three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = torch.nn.Conv2d(1, 4, 3)
        self.deep = torch.nn.Conv3d(1, 2, 2)
        self.last = torch.nn.Linear(2 * 3 * 5 * 5, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.deep(self.flat(x).view(len(x), 1, 4, 6, 6))
        return self.last(found.view(len(x), -1))


def test_modules_keep_the_order_of_weights_in_memory() -> None:
    student = Folded()
    distill(student, [], images(40, 0), training=Training(1))
    assert all(parameter.is_contiguous() for parameter in student.parameters())


def test_a_convolution_of_three_dimensions() -> None:
    student = model(
        f"""g (float[N,1,4,4,4] x) => (float[N,{CLASSES}] y) <float[2,1,3,3,3] w, float[16,{CLASSES}] v> {{
            a = Conv (x, w) f = Flatten (a) y = Gemm (f, v)
        }}"""
    )
    data = {"x": np.zeros((20, 1, 4, 4, 4), np.float32), "labels": np.zeros(20, np.int64)}
    assert distill(student, [], data, training=Training(1)).after is not None


def test_features_of_modules() -> None:
    torch.manual_seed(0)
    student, teacher = (
        torch.nn.Sequential(
            torch.nn.Conv2d(1, channels, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(2),
            torch.nn.Flatten(),
            torch.nn.Linear(4 * channels, CLASSES),
        )
        for channels in (4, 8)
    )
    found = distill(student, [teacher], images(60, 0), features="1", training=Training(1))
    assert found.epochs[0].losses["features"] > 0
    assert not student[1]._forward_hooks
    with pytest.raises(ValueError, match=r"features: the Sequential has no value '9'"):
        distill(student, [teacher], images(60, 0), features=["9"], training=Training(1))
    with pytest.raises(ValueError, match=r"features must have shape .*, got \(\d+, \d+\)"):
        distill(student, [teacher], images(60, 0), features=["3"], training=Training(1))


def test_a_model_for_one_sample_stays_one() -> None:
    found = distill(convolutions(batch="1"), [], images(64, 0), training=Training(epochs=1))
    assert found.model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    onnx.checker.check_model(found.model, full_check=True)
    assert Session(found.model)({"x": images(1, 1)["x"]})["y"].shape == (1, CLASSES)


def test_files_with_external_data(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(perceptron(), path, save_as_external_data=True, size_threshold=0)
    found = distill(path, [str(path)], points(40, 0), training=Training(1))
    onnx.checker.check_model(found.model, full_check=True)
    assert Session(found.model)({"x": points(2, 1)["x"]})["y"].shape == (2, CLASSES)


def test_modules() -> None:
    """PyTorch modules as student and teacher; the student is trained in place."""
    torch.manual_seed(0)
    student, teacher = (
        torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.ReLU(), torch.nn.Linear(12, CLASSES)) for _ in range(2)
    )
    distill(teacher, [], points(400, 0), training=FAST)
    other = distill(perceptron(), [], points(400, 0), training=FAST).model
    kept = {name: tensor.clone() for name, tensor in teacher.state_dict().items()}
    found = distill(student, [teacher, other], points(400, 1), points(100, 2), training=FAST)
    assert found.model is student
    assert student.training
    assert not teacher.eval().training
    assert found.after is not None
    assert found.after > 0.85
    assert all(torch.equal(tensor, teacher.state_dict()[name]) for name, tensor in kept.items())


def test_modules_keep_their_modes_and_the_state_of_random_numbers() -> None:
    """Teachers with batch normalization, a frozen part of the student."""
    torch.manual_seed(3)
    layers = (torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, CLASSES))
    student, teacher = torch.nn.Sequential(*layers), torch.nn.Sequential(*(copy.deepcopy(each) for each in layers))
    teacher.eval()
    student[1].eval()
    before = torch.random.get_rng_state()
    distill(student, [teacher], points(40, 0), training=Training(1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not any(part.training for part in teacher.modules())
    assert [part.training for part in student] == [True, False, True, True]


def test_equal_constants_are_trained_apart() -> None:
    """Exporters write equal vectors once, such as the mean and the bias of a new batch normalization."""
    shared = convolutions()
    for node in shared.graph.node:
        if node.op_type == "BatchNormalization":
            node.input[2] = node.input[3]
    found = distill(shared, [], images(100, 0), training=Training(1)).model
    (node,) = (node for node in found.graph.node if node.op_type == "BatchNormalization")
    assert node.input[2] != node.input[3]
    assert not np.array_equal(weights(found)[node.input[2]], weights(found)[node.input[3]])


def test_images_with_channels_last_are_not_changed() -> None:
    student = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8 * 8 * 3, CLASSES))
    data = {"x": np.zeros((20, 8, 8, 3), np.float32), "labels": np.zeros(20, np.int64)}
    with pytest.raises(ValueError, match="seem to be columns and channels"):
        distill(student, [], data, training=Training(1), augment="flip")


def test_indices_beyond_a_table() -> None:
    student = model(
        f"g (int64[N,4] x) => (float[N,{CLASSES}] y) <float[9,5] t, float[5,{CLASSES}] w, int64[1] axis = {{1}}>"
        "{ e = Gather (t, x) m = ReduceMean <keepdims: int = 0> (e, axis) y = MatMul (m, w) }"
    )
    data = {"x": np.full((20, 4), 2), "labels": np.zeros(20, np.int64)}
    assert distill(student, [], data, training=Training(1)).after is not None
    data["x"][-1] = 9
    with pytest.raises(ValueError, match="does not compute Gather"):
        distill(student, [], data, data, training=Training(1))


def test_the_same_seed_gives_the_same_weights() -> None:
    runs = [distill(perceptron(), [], points(100, 0), training=Training(2, 16, seed=s)).model for s in (1, 1, 2)]
    assert same(runs[0], runs[1])
    assert not same(runs[0], runs[2])


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    """After an interruption in the third epoch, the weights are those without it."""
    training = Training(4, 16)
    whole = distill(convolutions(), [], images(100, 0), training=training, augment="flip")

    class Stop(Exception):
        pass

    def stop(part: float) -> None:
        if part > 0.6:
            raise Stop

    with pytest.raises(Stop):
        distill(
            convolutions(), [], images(100, 0), training=training, augment="flip", checkpoint=tmp_path, progress=stop
        )
    found = distill(convolutions(), [], images(100, 0), training=training, augment="flip", checkpoint=tmp_path)
    assert same(found.model, whole.model)
    assert [epoch.losses for epoch in found.epochs] == [epoch.losses for epoch in whole.epochs]
    with pytest.raises(ValueError, match=r"is of another training: .*'epochs': 4.*; choose another folder"):
        distill(convolutions(), [], images(100, 0), training=Training(5, 16), augment="flip", checkpoint=tmp_path)
    linear = convolutions()
    next(node for node in linear.graph.node if node.op_type == "Relu").op_type = "Sigmoid"  # with the same weights
    for other in (
        {"student": linear},
        {"student": convolutions(seed=1)},
        {"data": images(100, 1)},
        {"augment": "shift:1"},
    ):
        same_but = {"student": convolutions(), "data": images(100, 0), "augment": "flip", **other}
        with pytest.raises(ValueError, match="is of another training"):
            distill(teachers=[], training=training, checkpoint=tmp_path, **same_but)
    (tmp_path / "state.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match="is damaged"):
        distill(convolutions(), [], images(100, 0), training=training, augment="flip", checkpoint=tmp_path)


def test_answers_of_teachers_are_kept(tmp_path: Path) -> None:
    runs = [
        distill(perceptron(), [perceptron(seed=3)], points(100, 0), training=Training(1), cache=tmp_path)
        for _ in range(2)
    ]
    assert same(runs[0].model, runs[1].model)
    (file,) = tmp_path.iterdir()
    distill(perceptron(), [perceptron(seed=4)], points(100, 0), training=Training(1), cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    file.write_bytes(b"text")
    with pytest.raises(ValueError, match="is damaged"):
        distill(perceptron(), [perceptron(seed=3)], points(100, 0), training=Training(1), cache=tmp_path)


SCRIPT = """
import sys
import onnx
from optimizer import Training, distill
from optimizer.torchrun import is_first
from tests.graph_passes.models import model
from tests.optimizer.classes import perceptron, points
found = distill(perceptron(), [perceptron(seed=3)], points(101, 0), training=Training(3, 20), threads=1)
if is_first():
    onnx.save(found.model, sys.argv[1])
"""


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Gradients are averaged, also where the parts of a batch differ in size."""
    (tmp_path / "script.py").write_text(SCRIPT)
    path = str(tmp_path / "two.onnx")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "script.py"]
    done = subprocess.run(
        [*command, path],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone = distill(perceptron(), [perceptron(seed=3)], points(101, 0), training=Training(3, 20)).model
    for name, array in weights(alone).items():
        np.testing.assert_allclose(weights(onnx.load(path))[name], array, rtol=1e-3, atol=1e-4)


def broken(name: str, value: float) -> dict[str, np.ndarray]:
    data = points(20, 0)
    data[name] = data[name].astype(np.float32 if name == "x" else np.int64)
    data[name][3] = value
    return data


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"data": {}}, "there are no samples"),
    "nan": ({"data": broken("x", np.nan)}, "x has NaN or infinite values"),
    "large label": ({"data": broken("labels", 3)}, "the student has 3 classes, but there is a label 3"),
    "negative label": ({"data": broken("labels", -1)}, "labels must be 0 or more, got -1"),
    "counts": (
        {"data": {**points(20, 0), "labels": np.zeros(3, np.int64)}},
        "all arrays must have as many samples as the others, got x 20, labels 3",
    ),
    "labels of floats": (
        {"data": {**points(20, 0), "labels": np.zeros(20)}},
        "labels must be whole numbers, one per sample, got float64 of shape (20,)",
    ),
    "no labels": (
        {"data": {"x": points(20, 0)["x"]}},
        "there is nothing to learn from: give teachers, or data with labels",
    ),
    "loss": ({"loss": "l2"}, "unknown loss 'l2'; choose from: kd, dist"),
    "temperature": ({"temperature": 0.0}, "the temperature must be above 0 and at most 10000, got 0"),
    "high temperature": ({"temperature": 1e300}, "the temperature must be above 0 and at most 10000, got 1e+300"),
    "device": ({"device": "nonsense"}, "unknown device 'nonsense'; for example, cpu or cuda"),
    "threads": ({"threads": 0}, "threads must be at least 1, got 0"),
    "no weights": ({"student": torch.nn.Flatten()}, "the student has no weights that can be trained"),
    "features and a cache": (
        {"features": ["c"], "teachers": [perceptron()], "cache": "cache"},
        "a cache keeps answers, not features",
    ),
    "alpha": ({"alpha": 1.5}, "alpha, the share of the teachers, must be from 0 to 1, got 1.5"),
    "beta": ({"beta": 0.0}, "beta, the weight of features, must be above 0, got 0"),
    "features without teachers": ({"features": ["c"]}, "features are learned from teachers: give one or more"),
    "feature": (
        {"features": ["relu"], "teachers": [perceptron()]},
        "features: the student has no value 'relu'",
    ),
    "shape of a feature": ({"features": ["c"], "teachers": [perceptron()]}, "features must have shape"),
    "augment": ({"augment": "turn"}, "unknown change of images 'turn'; choose from: flip, shift:N"),
    "name": ({"data": {"z": points(20, 0)["x"], "labels": points(20, 0)["labels"]}}, "the samples lack x"),
    "shape": ({"data": {"x": np.ones((20, 5), np.float32)}, "teachers": [perceptron()]}, "the samples of x must have"),
    "teacher": ({"teachers": [convolutions()]}, "ONNX Runtime does not run the model"),
}


@pytest.mark.parametrize(("changed", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        distill_(**{"threads": 1, "student": perceptron(), "teachers": [], "data": points(20, 0), **changed})
    assert "\n" not in str(caught.value)


def test_a_rate_that_is_too_high() -> None:
    with pytest.raises(
        ValueError, match=r"the loss is not finite in epoch 1; choose a lower learning rate than 1e\+30"
    ):
        distill(perceptron(), [], points(100, 0), training=Training(2, 16, learning_rate=1e30))


def test_training_settings() -> None:
    with pytest.raises(ValueError, match="epochs and batch_size must be at least 1"):
        Training(epochs=0)
    with pytest.raises(ValueError, match="the learning rate must be above 0"):
        Training(learning_rate=float("nan"))
    factors = [Training().factor(step, 100) for step in range(100)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(a > b for a, b in itertools.pairwise(factors[5:]))
    assert 0 < factors[-1] < 0.01
