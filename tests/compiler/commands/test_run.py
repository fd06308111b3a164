"""``run``: its answers against float64 arithmetic, its output and its files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from compiler.__main__ import main
from compiler.commands.arrays import save, summary, top
from tests.compiler.commands.conftest import SHAPES, WIDTH, Built, expected

pytestmark = pytest.mark.tvm
EPSILON = float(np.finfo(np.float32).eps)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    made = {"x": rng.standard_normal((4, 16), np.float32), "scale": rng.standard_normal((4, 1), np.float32)}
    for name, array in made.items():
        np.save(name, array)
    return made


def assert_right(answers: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> None:
    for name, want in expected(**arrays).items():
        # The error of a sum of WIDTH products, or of rows of such sums, is at most the number of terms times epsilon.
        terms = 4 * WIDTH * max(np.abs(array).max() for array in arrays.values()) ** 2
        np.testing.assert_allclose(answers[name], want, rtol=0, atol=4 * WIDTH * EPSILON * terms)


def test_answers_in_an_archive(built: Built, arrays: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--input", "x=x.npy", "--input", "scale=scale.npy"]
    assert main(["run", str(built.saved), *given, "--output", "y.npz", "--json", "y.json"]) == 0
    printed = capsys.readouterr().out
    assert "Random" not in printed
    with np.load("y.npz", allow_pickle=False) as archive:
        answers = {name: archive[name] for name in archive.files}
    assert list(answers) == ["scores", "layer/relu:0"]
    assert_right(answers, arrays)
    content = json.loads(Path("y.json").read_text())
    assert content["random_inputs"] == []
    assert content["outputs"][0] == json.loads(json.dumps(summary("scores", answers["scores"])))
    assert f"Top 5 of scores: {np.argmax(answers['scores'])} (" in printed
    assert "Top 5 of layer" not in printed


def test_answers_in_a_folder_of_a_model_that_is_built_first(
    model_file: Path, arrays: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--input", "x=x.npy", "--input", "scale=scale.npy", "--threads", "1", "--no-fast-algorithms"]
    assert main(["run", str(model_file), *SHAPES, *given, "--output", "new/folder"]) == 0
    assert "without Winograd's and Strassen's algorithms" in capsys.readouterr().out
    assert sorted(file.name for file in Path("new/folder").iterdir()) == ["layer_relu_0.npy", "scores.npy"]
    answers = {"scores": np.load("new/folder/scores.npy"), "layer/relu:0": np.load("new/folder/layer_relu_0.npy")}
    assert_right(answers, arrays)


@pytest.mark.usefixtures("arrays")
def test_inputs_are_random_by_default(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(built.saved), "--input", "x=x.npy", "--json", "y.json"]) == 0
    assert "\nRandom inputs (seed 0): scale\n" in capsys.readouterr().out
    assert json.loads(Path("y.json").read_text())["random_inputs"] == ["scale"]


def test_summaries() -> None:
    made = summary("y", np.array([[1, -3], [5, 1]], np.int64))
    statistics = {"min": -3.0, "max": 5.0, "mean": 1.0, "top": None, "values": [1, -3, 5, 1]}
    assert made == {"name": "y", "dtype": "int64", "shape": [2, 2], **statistics}
    assert summary("y", np.array([1, np.inf], np.float32))["values"] == [1, None]
    assert summary("y", np.zeros(9, np.int64))["values"] is None
    assert summary("y", np.array([1, np.nan], np.float32))["mean"] is None
    assert summary("y", np.zeros((0, 3), np.float32))["max"] is None
    assert summary("y", np.array(2.0, np.float32))["mean"] == 2


def test_the_largest_scores() -> None:
    scores = np.array([[[0, 5, 1, 5, -2, 3, 4]]], np.float32)
    assert top(scores) == [(1, 5.0), (3, 5.0), (6, 4.0), (5, 3.0), (2, 1.0)]
    assert top(scores[..., :5]) is None
    assert top(scores.astype(np.int64)) is None
    assert top(np.concatenate([scores, scores])) is None
    assert top(np.where(scores > 4, np.nan, scores)) is None


def test_each_output_has_a_separate_file(tmp_path: Path) -> None:
    names = ["a/b", "a:b", "../up", ".hidden", "file", "a_b"]
    arrays = {name: np.full(2, place) for place, name in enumerate(names)}
    files = save(tmp_path / "outputs", arrays)
    assert [file.parent for file in files] == [tmp_path / "outputs"] * len(names)
    assert [np.load(file)[0] for file in files] == list(range(len(names)))
    assert [file.name for file in files] == [
        "a_b.npy",
        "a_b-2.npy",
        "_._up.npy",
        "_hidden.npy",
        "file.npy",
        "a_b-3.npy",
    ]
    save(tmp_path / "outputs.npz", arrays)
    with np.load(tmp_path / "outputs.npz", allow_pickle=False) as archive:
        assert [archive[name][0] for name in names] == list(range(len(names)))


@pytest.mark.parametrize("output", ["out.npz", "out"])
def test_strings_and_sequences(output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """<ir_version: 10, opset_import: ["": 20]>
    g (string[2] x, float[3] a) => (string[2] y, seq(int64[1, 1]) s)
    { y = StringConcat (x, x) i = NonZero (a) s = SplitToSequence <axis = 1> (i) }"""
    onnx.save(onnx.parser.parse_model(text), "model.onnx")
    np.save("x.npy", np.array(["a", "bc"]))
    np.save("a.npy", np.array([1, 0, 2], np.float32))
    given = ["run", "model.onnx", "--threads", "1", "--input", "a=a.npy"]
    assert main([*given, "--input", "x=x.npy", "--output", output]) == 0
    printed = capsys.readouterr().out
    assert "x: strings or a sequence" in printed
    assert '\nValues of y: "aa", "bcbc"\n' in printed
    if output == "out":
        answers = {file.stem: np.load(file) for file in (tmp_path / output).iterdir()}
    else:
        with np.load(output, allow_pickle=False) as archive:
            answers = {name: archive[name] for name in archive.files}
    assert {name: array.tolist() for name, array in answers.items()} == {
        "y": ["aa", "bcbc"],
        "s.0": [[0]],
        "s.1": [[2]],
    }
    with pytest.raises(SystemExit, match="2"):
        main(given)
    assert "input x is not a tensor of numbers and has no random values; give" in capsys.readouterr().err


def test_outputs_that_no_file_holds(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"argument --output: m\.0 is a dict, which no \.npy file holds"):
        save(tmp_path / "out.npz", {"y": np.zeros(2), "absent": None, "m": [{"a": 1.0}]})
    assert not list(tmp_path.iterdir())
