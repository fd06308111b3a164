"""Fills of inputs stay in their ranges and have the structure that they are for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.models import fills


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("fill", "low", "high"),
    [(fills.image, 0, 1), (fills.pixels, 0, 255), (fills.page, -1, 1), (fills.uniform, 0, 1), (fills.sound, -1, 1)],
)
@pytest.mark.parametrize("shape", [(1, 3, 48, 320), (1, 64, 48, 3), (1, 1, 64, 160)])
def test_ranges(rng: np.random.Generator, fill: fills.Fill, low: float, high: float, shape: tuple[int, ...]) -> None:
    values = fill(rng, shape)
    assert values.shape == shape
    assert low <= values.min() < values.max() <= high


def test_neighboring_pixels_are_alike(rng: np.random.Generator) -> None:
    picture = fills.image(rng, (1, 3, 100, 100))
    assert np.abs(np.diff(picture, axis=-1)).mean() < 0.3 * picture.std()


def test_a_page_is_light_with_dark_strokes(rng: np.random.Generator) -> None:
    sheet = fills.page(rng, (1, 3, 320, 320))
    assert 0.02 < (sheet < -0.5).mean() < 0.3
    assert (sheet > 0.5).mean() > 0.6


def test_sound_is_harmonic(rng: np.random.Generator) -> None:
    spectrum = np.abs(np.fft.rfft(fills.sound(rng, (1, 16000))[0]))
    assert np.sort(spectrum)[-40:].sum() > 0.3 * spectrum.sum()


def test_integers_and_constants(rng: np.random.Generator) -> None:
    ids = fills.tokens(7)(rng, (50, 4))
    assert set(ids.ravel()) == set(range(7))
    hot = fills.one_hot(rng, (2, 5, 9))
    assert (hot.sum(-1) == 1).all()
    assert (fills.constant(16000)(rng, ()) == 16000).all()
