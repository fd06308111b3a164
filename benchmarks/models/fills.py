"""How the inputs of census models are filled: seeded values that resemble what the model is for.

Random noise hides errors that real data shows: sound and images are smooth, so their largest activations are far above
the others, and softmax and normalization see structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Fill = Callable[[np.random.Generator, Sequence[int]], np.ndarray]

WAVES = 8  # of an image or a sound


def normal(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return rng.standard_normal(shape)


def scaled(deviation: float) -> Fill:
    """Returns a fill with normal values of this standard deviation, such as the hidden states of an encoder."""
    return lambda rng, shape: deviation * rng.standard_normal(shape)


def uniform(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """From 0 to 1, without structure: shares, distances and angles."""
    return rng.random(shape)


def image(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """A smooth picture in [0, 1] with a little noise, in any layout: waves along all axes."""
    total = np.zeros(shape)
    for wave in range(1, WAVES + 1):
        phase = np.full((1,) * len(shape), rng.random())
        for axis, size in enumerate(shape):
            places = np.arange(size).reshape([-1 if other == axis else 1 for other in range(len(shape))])
            phase = phase + rng.uniform(-wave, wave) * places / size
        total += np.cos(2 * np.pi * phase) / wave
    total = (total - total.min()) / max(np.ptp(total), 1e-9)
    return np.clip(total + 0.02 * rng.standard_normal(shape), 0, 1)


def page(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Lines of dark strokes on a light page along the last two axes, in [-1, 1], as OCR networks read it.

    Without strokes, text detectors return zeros.
    """
    height, width = shape[-2:]
    line = min(32, 2 * height // 3)
    sheet = np.full((height, width), 0.8)
    for top in range((height % (2 * line)) // 4, height - line + 1, 2 * line):
        for left in range(line // 2, width - line, line * 3 // 4):
            for _ in range(rng.integers(2, 5)):
                y, x = top + rng.integers(0, line - 3), left + rng.integers(0, line // 2 - 2)
                if rng.random() < 0.5:
                    sheet[y : top + line, x : x + 3] = -0.9
                else:
                    sheet[y : y + 3, x : left + line // 2] = -0.9
    return np.clip(sheet + 0.02 * rng.standard_normal(shape), -1, 1)


def pixels(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """A picture in [0, 255]."""
    return np.round(255 * image(rng, shape))


def sound(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Samples in [-1, 1] along the longest axis: harmonics of a tone that swells, and noise."""
    axis = int(np.argmax(shape))
    time = np.arange(shape[axis]).reshape([-1 if other == axis else 1 for other in range(len(shape))]) / 16000
    base = rng.uniform(100, 250)
    tone = np.zeros(time.shape)
    for harmonic in range(1, WAVES + 1):
        tone = tone + np.sin(2 * np.pi * (base * harmonic * time + rng.random())) / harmonic
    swelling = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
    return np.clip(0.2 * tone * swelling + 0.005 * rng.standard_normal(shape), -1, 1)


def tokens(count: int) -> Fill:
    """Returns a fill with integers from 0 to ``count`` - 1, such as the rows of an embedding."""
    return lambda rng, shape: rng.integers(0, count, shape)


def one_hot(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Zeros with a one at a random place of the last axis."""
    return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]


def constant(value: float) -> Fill:
    """Returns a fill with one number: ones of a mask, a sample rate, states that begin with zeros."""
    return lambda _rng, shape: np.full(shape, value)
