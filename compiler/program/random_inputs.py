"""Random inputs for a model, where a user gives none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from compiler.program.tensor_spec import OPAQUE, TensorSpec


def random_inputs(specs: Iterable[TensorSpec], seed: int = 0) -> dict[str, np.ndarray]:
    """Returns an array for each input: floats of N(0, 1), integers 0 and 1, or booleans.

    The integers suit masks and token types, and are within every table that they may index.

    Raises:
        ValueError: a dimension of an input is not fixed, or an input is not a tensor of numbers.
    """
    rng = np.random.default_rng(seed)
    return {spec.name: _random(spec, rng) for spec in specs}


def _random(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    if spec.dtype == OPAQUE:
        raise ValueError(f"input {spec.name} is not a tensor of numbers, so there are no random values for it")
    if min(spec.shape, default=0) < 0:
        raise ValueError(f"input {spec} has a dynamic shape, for which there are no random values")
    if np.dtype(spec.dtype).kind == "f":
        return rng.standard_normal(spec.shape).astype(spec.dtype)
    return rng.integers(0, 2, spec.shape).astype(spec.dtype)
