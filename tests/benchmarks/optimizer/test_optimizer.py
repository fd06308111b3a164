"""The paired interval, the reader of the data set, and the command from end to end on few small images."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from benchmarks.optimizer.command import main
from benchmarks.optimizer.datasets import fashion_mnist
from benchmarks.optimizer.experiment import DENSE, FAST, HALF, SMALL, SMALL_INT8
from benchmarks.optimizer.paired import difference
from benchmarks.optimizer.report import COMPARISONS


def test_the_interval_is_that_of_paired_differences() -> None:
    rng = np.random.default_rng(0)
    first = rng.random(1000) < 0.9
    second = first & (rng.random(1000) < 0.97)  # never right where the first is wrong
    found = difference([(first, second)])
    lost = float((first & ~second).mean())
    width = 1.965 * np.sqrt(lost * (1 - lost) / 999)
    assert found.value == pytest.approx(100 * lost)
    assert (found.low, found.high) == pytest.approx((100 * (lost - width), 100 * (lost + width)))
    both = difference([(first, second), (second, first)])  # seeds that disagree
    assert both.value == pytest.approx(0)
    assert both.high == pytest.approx(100 * 12.706 * lost)


def test_few_seeds_make_wide_intervals() -> None:
    """Two seeds whose differences are 1 and 3 points: 1 point of variation, which Student's t multiplies by 12.7."""
    right = np.ones(1000, bool)
    pairs = [(right, np.arange(1000) >= wrong) for wrong in (10, 30)]
    found = difference(pairs)
    assert found.value == pytest.approx(2)
    assert found.high - found.low == pytest.approx(2 * 12.706, rel=0.2)


def write(folder: Path, name: str, images: np.ndarray, labels: np.ndarray) -> None:
    for suffix, kind, array in (("images-idx3", 2051, images), ("labels-idx1", 2049, labels)):
        with gzip.open(folder / f"{name}-{suffix}-ubyte.gz", "wb") as file:
            file.write(struct.pack(f">{array.ndim + 1}I", kind, *array.shape) + array.astype(np.uint8).tobytes())


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images with stripes of one of two directions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(0, 100, (count, 12, 12))
    images[labels == 0, ::2] += 150
    images[labels == 1, :, ::2] += 150
    return images, labels


def _written(folder: Path) -> Path:
    folder = folder / "data"
    folder.mkdir(exist_ok=True)
    write(folder, "train", *data(200, 0))
    write(folder, "t10k", *data(100, 1))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _written(tmp_path)


def test_reading(folder: Path) -> None:
    train, test = fashion_mnist.load(folder)
    images, labels = data(200, 0)
    assert train["x"].shape == (200, 1, 12, 12)
    np.testing.assert_allclose(train["x"][:, 0] * 0.3530 + 0.2860, images / 255, atol=1e-6)
    np.testing.assert_array_equal(train["labels"], labels)
    assert len(test["labels"]) == 100


def test_damaged_files(folder: Path) -> None:
    path = folder / "train-images-idx3-ubyte.gz"
    for content in (b"", b"text", gzip.compress(b"abc"), gzip.compress(struct.pack(">4I", 2051, 9, 9, 9))):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            fashion_mnist.load(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="apt-get install"):
        fashion_mnist.load(folder)


@pytest.mark.tvm
def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(folder / "found.json"), "--png", str(folder / "found.png"), "--keep", str(folder / "keep")]
    options = ["--data", str(folder), "--seeds", "3", "--epochs", "1", "--widths", "64,128", "--threads", "1"]
    assert main([*options, *files]) == 0
    out = capsys.readouterr().out
    assert "points more accurate" in out
    (found,) = json.loads((folder / "found.json").read_text())
    rows = found["rows"]
    assert {name for pair in COMPARISONS for name in pair} == rows.keys()
    for row in rows.values():
        right = np.unpackbits(np.array(row["right"], np.uint8))[:100]
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["latency"] > 0
    # Not less: if other processes disturb the first measurement, the dense network is within the limit.
    assert rows[FAST]["parameters"] <= rows[DENSE]["parameters"]
    assert rows[SMALL]["parameters"] <= 0.26 * rows[DENSE]["parameters"]
    assert rows[SMALL_INT8]["bytes"] < rows[SMALL]["bytes"]
    assert rows[HALF]["parameters"] < rows[DENSE]["parameters"]
    assert (folder / "found.png").read_bytes().startswith(b"\x89PNG")
    assert main([*options, *files]) == 0  # nothing is trained again
    assert "seed 3: dense" not in capsys.readouterr().out
    (folder / "found.json").unlink()  # after an interruption, trainings that ended are not run again
    changed = {path: path.stat().st_mtime_ns for path in (folder / "keep").rglob("*.*")}
    assert main([*options, *files]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "keep").rglob("*.*")} == changed
    (folder / "found.json").unlink()
    with pytest.raises(SystemExit) as ended:
        main([*options, *files, "--removed", "50"])
    assert ended.value.code == 2
    assert "has trainings of other settings" in capsys.readouterr().err


def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text("{}")
    for arguments, message in (
        (["--data", str(tmp_path)], "apt-get install dataset-fashion-mnist"),
        (["--widths", "0"], "'0' is not a whole number of 1 or more"),
        (["--seeds", "a"], "'a' is not a whole number"),
        (["--json", str(tmp_path / "other.json"), "--data", str(_written(tmp_path))], "is not a file of results"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
