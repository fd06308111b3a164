"""The readers of the data sets that come as packages."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest

from benchmarks.optimizer.datasets import animal_mnist, elpv, photos
from benchmarks.optimizer.datasets.normalized import divided

ANIMALS = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"


def _animals(folder: Path, images: object, labels: object) -> None:
    for name, found in (("data", images), ("label", labels)):
        path = folder / ANIMALS.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(pickle.dumps(found)))


def test_animals(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (50, 28, 28), np.uint8), rng.integers(0, 10, 50)
    _animals(tmp_path, images, labels)
    train, test = animal_mnist.load(tmp_path)
    places, tested = divided(50)
    assert len(tested) == 10
    assert not set(places) & set(tested)
    np.testing.assert_array_equal(train["labels"], labels[places])
    np.testing.assert_array_equal(test["labels"], labels[tested])
    part = images[places] / 255
    np.testing.assert_allclose(train["x"][:, 0], (part - part.mean()) / part.std(), rtol=1e-4, atol=1e-5)


def test_animals_that_are_there_twice(tmp_path: Path) -> None:
    """Otherwise some would be trained on, and tested."""
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)
    labels = np.arange(30) % 10
    _animals(tmp_path, np.concatenate([images, images[:20]]), np.concatenate([labels, labels[:20]]))
    train, test = animal_mnist.load(tmp_path)
    assert len(train["labels"]) + len(test["labels"]) == 30
    assert len(np.unique(np.concatenate([train["x"], test["x"]]).round(3), axis=0)) == 30


class Harmful:
    """An object that runs code when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    _animals(tmp_path, Harmful(tmp_path / "executed"), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="is damaged"):
        animal_mnist.load(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((3, 28, 28), np.uint8), np.zeros(4, np.int64)),
        (np.zeros((3, 28, 28), np.uint8), np.array([0, 1, 10])),
        (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.int64)),
        ("text", "text"),
    ],
)
def test_damaged_animals(tmp_path: Path, images: object, labels: object) -> None:
    _animals(tmp_path, images, labels)
    with pytest.raises(ValueError, match="is damaged"):
        animal_mnist.load(tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    for load in (animal_mnist.load, elpv.load):
        with pytest.raises(FileNotFoundError, match="make datasets"):
            load(tmp_path)


def test_solar_cells(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    root = tmp_path / "elpv_dataset/data"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for place, probability in enumerate(("0.0", "0.3333333333333333", "0.6666666666666666", "1.0", "1.0")):
        image.fromarray(rng.integers(0, 256, (300, 300), np.uint8)).save(root / f"images/{place}.png")
        rows.append(f"images/{place}.png  {probability}      mono")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    train, test = elpv.load(tmp_path)
    assert train["x"].shape == (4, 1, 60, 60)
    places, tested = divided(5)
    expected = np.array([0, 0, 1, 1, 1])
    np.testing.assert_array_equal(train["labels"], expected[places])
    np.testing.assert_array_equal(test["labels"], expected[tested])
    (root / "labels.csv").write_text("../../outside.png 1.0 mono\n")
    with pytest.raises(ValueError, match="is damaged"):
        elpv.load(tmp_path)
    (root / "images/0.png").write_bytes(b"no image")
    (root / "labels.csv").write_text(rows[0])
    with pytest.raises(ValueError, match="is damaged"):
        elpv.load(tmp_path)


def test_photos(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    root = tmp_path / "foolbox/data"
    root.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for place in range(8):
        pixels = np.full((300, 400, 3), rng.integers(0, 256, 3), np.uint8)
        image.fromarray(pixels).save(root / f"imagenet_{place:02}_1.jpg")
    calibration, other = photos.load(tmp_path)
    assert calibration.shape == (4 * 6, 3, 224, 224)
    assert other.shape == (10 * 2, 3, 224, 224)
    np.testing.assert_array_equal(other[:5], other[5:10, ..., ::-1])
    color = np.asarray(image.open(root / "imagenet_06_1.jpg"))[0, 0] / 255
    np.testing.assert_allclose(other[0, :, 0, 0] * photos.DEVIATION + photos.MEAN, color, atol=0.01)
    (root / "imagenet_00_1.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match="is damaged"):
        photos.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="make datasets"):
        photos.load(tmp_path / "other")
