"""Random inputs by the specification of a model's tensors."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.program.random_inputs import random_inputs
from compiler.program.tensor_spec import DTYPES, TensorSpec


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_suit_the_type(dtype: str) -> None:
    array = random_inputs([TensorSpec("x", dtype, (20, 50))])["x"]
    assert (array.dtype, array.shape) == (np.dtype(dtype), (20, 50))
    if dtype.startswith("float"):
        # The mean of 1000 values of N(0, 1) has a deviation of 0.032, their own deviation one of 0.022.
        assert abs(array.astype(np.float64).mean()) < 0.2
        assert abs(array.astype(np.float64).std() - 1) < 0.15
    else:
        assert set(np.unique(array)) == {0, 1}


def test_a_seed_gives_the_same_values_and_another_seed_others() -> None:
    specs = [TensorSpec("x", "float32", (8,)), TensorSpec("mask", "int64", (1, 5))]
    one, again, other = (random_inputs(specs, seed) for seed in (3, 3, 4))
    assert list(one) == ["x", "mask"]
    assert all(np.array_equal(one[name], again[name]) for name in one)
    assert not np.array_equal(one["x"], other["x"])


def test_a_scalar_has_a_value() -> None:
    assert random_inputs([TensorSpec("x", "float32", ())])["x"].shape == ()


def test_a_dynamic_shape_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"input x: float32\[-1, 2\] has a dynamic shape"):
        random_inputs([TensorSpec("x", "float32", (-1, 2))])
