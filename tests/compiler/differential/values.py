"""Random arrays by data type and kind of values, without subnormals, and arrays with subnormals in place of zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The types that ONNX Runtime's Python interface takes and returns as NumPy arrays.
DTYPES: dict[str, np.dtype] = {
    f"tensor({onnx_name})": np.dtype(name)
    for onnx_name, name in {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "bool": "bool",
        **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    }.items()
}

# ANY: NaN, infinities and large values in some arrays, the ends of the range of integers in others.
# FINITE: as ANY without NaN and infinities. SMALL: magnitudes of at most 3, which sums of products need. UNIT: -1 to 1.
# POSITIVE: 0.25 to 3. EXACT: multiples of 1/8, whose sums and products are exact in float32.
# ORDERED: as ANY without NaN. SPECIAL: NaN and infinities in every array.
ANY, ORDERED, SPECIAL, FINITE, SMALL = "any", "ordered", "special", "finite", "small"
UNIT, POSITIVE, EXACT = "unit", "positive", "exact"


def random_array(rng: np.random.Generator, dtype: np.dtype, shape: Sequence[int], kind: str) -> np.ndarray:
    """Returns an array of the type and shape; for types without such values, the nearest that has them."""
    shape = tuple(shape)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return _integers(rng, dtype, shape, kind)
    x = rng.standard_normal(shape)
    if kind == UNIT:
        x = rng.uniform(-1, 1, shape)
    elif kind == POSITIVE:
        x = rng.uniform(0.25, 3, shape)
    elif kind == EXACT:
        x = rng.integers(-16, 17, shape) / 8
    elif kind == SMALL:
        x = np.clip(x, -3, 3)
    else:
        form = rng.integers(0, 8)
        if form == 0:
            x = np.round(x * 4) / 2  # ties, zeros and halves
        elif form == 1:
            x = x * 10.0 ** rng.integers(-3, 4, shape)
        elif form == 2:
            x = x * 10
        if kind == SPECIAL or (kind in (ANY, ORDERED) and form in (3, 4)):
            some = rng.random(shape) < (0.9 if form == 4 else 0.2)
            nan = np.inf if kind == ORDERED else np.nan
            x = np.where(some, rng.choice([nan, np.inf, -np.inf, 0.0, -0.0, -np.inf], shape), x)
    return _without_subnormals(x.astype(dtype))


def _integers(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], kind: str) -> np.ndarray:
    info = np.iinfo(dtype)
    low, high = max(info.min, -5), 5
    if kind == POSITIVE:
        low = 1
    if kind in (SMALL, UNIT, EXACT):
        low, high = max(info.min, -3), 3
    x = rng.integers(low, high, shape, endpoint=True)
    if kind in (ANY, ORDERED, FINITE) and rng.integers(0, 4) == 0:
        wide = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        ends = rng.choice(np.array([info.min, info.max, info.max // 2, 0], dtype), shape)
        return np.where(rng.random(shape) < 0.5, wide, ends).astype(dtype)
    return x.astype(dtype)


def _without_subnormals(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.zeros_like(x), x).astype(x.dtype)


def with_subnormals(x: np.ndarray) -> np.ndarray:
    """Returns an array of float32 with subnormals of the same sign in place of zeros; any other unchanged."""
    if x.dtype != np.float32:
        return x
    digits = np.arange(1, x.size + 1, dtype=np.uint64) * 2654435761 % (2**23 - 1) + 1
    small = digits.astype(np.uint32).view(np.float32).reshape(x.shape)
    return np.where(x == 0, np.copysign(small, x), x)


def flushed(x: np.ndarray) -> np.ndarray:
    """Returns an array of float32 with zeros in place of subnormals; any other unchanged."""
    return _without_subnormals(x) if x.dtype == np.float32 else x
