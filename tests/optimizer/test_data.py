from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimizer.data import read

ARRAYS = {"x": np.arange(6, dtype=np.float32).reshape(3, 2), "labels": np.array([0, 1, 1])}


@pytest.fixture(params=["archive", "folder"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "archive":
        np.savez(tmp_path / "data.npz", allow_pickle=False, **ARRAYS)
        return tmp_path / "data.npz"
    for name, array in ARRAYS.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "notes.txt").write_text("something else")
    return tmp_path


def test_arrays_by_name(path: Path) -> None:
    found = read(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_objects_are_rejected(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x\.npy is not an \.npy file") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npy is not an \.npy file"):
        read(tmp_path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no \.npy file"):
        read(tmp_path)
    with pytest.raises(OSError, match="cannot read"):
        read(tmp_path / "nothing.npz")
