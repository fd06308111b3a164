"""Answers and inputs of LiteRT, which has channels last, next to those of the converted model."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.census import litert

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("form", [IMAGES, np.moveaxis(IMAGES, 1, -1), IMAGES.reshape(2, -1)])
def test_channels_may_be_first_or_last(form: np.ndarray) -> None:
    assert litert.agrees({"theirs": form}, {"ours": IMAGES})


def test_numbers_agree_within_a_part_of_the_largest() -> None:
    wanted = np.array([100.0, 1.0], np.float32)
    assert litert.agrees({"y": wanted + np.array([0, 0.09])}, {"y": wanted})
    assert not litert.agrees({"y": wanted + np.array([0, 0.11])}, {"y": wanted})
    assert not litert.agrees({"y": wanted * [1, np.nan]}, {"y": wanted})
    assert not litert.agrees({"y": wanted[:1]}, {"y": wanted})
    assert not litert.agrees({"y": IMAGES[:, ::-1]}, {"y": IMAGES})


def test_another_number_of_outputs_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        litert.agrees({"y": IMAGES}, {"y": IMAGES, "z": IMAGES})


def test_images_are_transposed_where_the_file_has_channels_last() -> None:
    np.testing.assert_array_equal(litert._fitted(IMAGES, (2, 4, 5, 3)), np.moveaxis(IMAGES, 1, -1))
    assert litert._fitted(IMAGES, IMAGES.shape) is IMAGES
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 5\) does not fit \(2, 3, 5, 4\)"):
        litert._fitted(IMAGES, (2, 3, 5, 4))
