"""``kernels.channels_last`` against NumPy's transposition and ONNX's definition of QuantizeLinear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import Integers


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_channels_last(isa: str, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.tuples(*(st.integers(*of) for of in ((1, 3), (1, 4), (1, 70), (1, 70))))))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_normal(shape).astype(np.float32)
    threads = data.draw(st.integers(1, 2))
    moved = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(kernels.channels_last(x, isa=isa, threads=threads), moved)
    dtype = data.draw(st.sampled_from(["uint8", "int8"]))
    limits = np.iinfo(dtype)
    integers = Integers(dtype, data.draw(st.sampled_from([0.01, 0.3])), data.draw(st.integers(limits.min, limits.max)))
    y = kernels.channels_last(x, integers, isa=isa, threads=threads)
    assert y.dtype == dtype
    want = np.rint(moved / np.float32(integers.scale)) + integers.zero_point
    np.testing.assert_array_equal(y, np.clip(want, limits.min, limits.max))


def test_numbers_without_an_integer(isa: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0], np.float32).reshape(1, 2, 1, 3)
    y = kernels.channels_last(x, Integers("int8", 0.5, 3), isa=isa)
    np.testing.assert_array_equal(y.transpose(0, 3, 1, 2).reshape(-1), [-128, 127, -128, 127, -128, 3])


def test_wrong_arguments(isa: str) -> None:
    x = np.zeros((1, 3, 4, 4), np.float32)
    with pytest.raises(ValueError, match="up to 4 channels"):
        kernels.channels_last(np.zeros((1, 5, 4, 4), np.float32), isa=isa)
    with pytest.raises(ValueError, match="scale of the output must be positive"):
        kernels.channels_last(x, Integers("uint8", 0.0), isa=isa)
    with pytest.raises(TypeError, match="float32"):
        kernels.channels_last(x.astype(np.float64), isa=isa)
    with pytest.raises(TypeError):
        kernels.channels_last(x, Integers("uint8", 1.0), out=np.zeros((1, 4, 4, 3), np.float32), isa=isa)
