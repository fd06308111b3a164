"""Signals: Fourier transforms, windows, filter banks; and n-grams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import UNIT


def dft(d: NodeDraft) -> None:
    parts = d.choice(1, 2)
    shape = [d.integer(1, 2), *d.shape((1, 2), least=1, most=6), parts]
    axis = d.integer(1, len(shape) - 2)
    d.data(shape=shape, kind=UNIT)
    length = d.integer(1, 8) if d.chance(40) else None
    d.given(np.array(length, d.dtype(1))) if length else d.absent()
    inverse = d.maybe("inverse", 0, 1)
    if parts == 1 and not inverse:
        d.maybe("onesided", 0, 1)
    if d.version < 20:
        if axis != 1 or d.chance(50):
            d.set("axis", axis)
    elif axis != len(shape) - 2 or d.chance(50):
        d.given(np.array(axis - len(shape) if d.chance(40) else axis, np.int64))


def stft(d: NodeDraft) -> None:
    length, frame, step = d.integer(8, 16), d.choice(2, 4, 5, 8), d.integer(1, 4)
    d.data(shape=[d.integer(1, 2), length, 1], kind=UNIT)
    d.given(np.array(step, d.dtype(1)))
    window = d.chance(60)
    if window:
        d.given(d.rng().uniform(0, 1, [frame]).astype(d.dtype(0)))
    else:
        d.absent()
    if not window or d.chance(50):
        d.given(np.array(frame, d.dtype(1)))
    d.maybe("onesided", 0, 1)


def window(d: NodeDraft) -> None:
    d.given(np.array(d.integer(1, 12), d.dtype(0)), dynamic=20)
    d.maybe("periodic", 0, 1)
    d.maybe("output_datatype", 1, 11, 10)


def mel_weights(d: NodeDraft) -> None:
    dtype, real = d.dtype(0), np.dtype("float32")
    for number in (d.integer(2, 8), d.choice(16, 32), d.choice(8000, 16000)):
        d.given(np.array(number).astype(dtype), dynamic=20)
    for number in (d.choice(0.0, 20.0), d.choice(2000.0, 4000.0)):
        d.given(np.array(number, real), dynamic=20)
    d.maybe("output_datatype", 1, 11)


def n_grams(d: NodeDraft) -> None:
    shape = d.choice([d.integer(3, 9)], [2, d.integer(3, 7)])
    d.data(shape=shape)
    d.model.inputs[d.inputs[0]] = d.rng().integers(0, 4, shape).astype(d.dtype(0))
    d.set("mode", d.choice("TF", "IDF", "TFIDF"))
    d.set("min_gram_length", 1 if d.chance(50) else 2)
    d.set("max_gram_length", 2)
    d.set("max_skip_count", d.integer(0, 2))
    d.set("ngram_counts", [0, 3])
    d.set("ngram_indexes", [0, 1, 2, 3, 4])
    d.set("pool_int64s", [0, 1, 2, 0, 1, 1, 3])
    if d.chance(50):
        d.set("weights", [1.0, 2.0, 0.5, 3.0, 1.5])


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "BlackmanWindow": window,
    "DFT": dft,
    "HammingWindow": window,
    "HannWindow": window,
    "MelWeightMatrix": mel_weights,
    "STFT": stft,
    "TfIdfVectorizer": n_grams,
}
