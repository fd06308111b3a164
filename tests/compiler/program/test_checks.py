"""The checks of indices, divisors and sizes that generated code calls, against NumPy and on values at the limits."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from compiler.program import native

tvm_ffi = pytest.importorskip("tvm_ffi")

Array = np.ndarray
NODE = "Gather (node 'x')"
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def indices_of(indices: Array, *limits: int) -> Array:
    out = np.full_like(indices, 77)
    native.function("checked_indices")(_tensor(indices), tvm_ffi.Shape(limits), NODE, _tensor(out))
    return out


def divisors_of(divisors: Array) -> Array:
    out = np.full_like(divisors, 77)
    native.function("checked_divisors")(_tensor(divisors), "Div (node 'x')", _tensor(out))
    return out


def sizes_of(value: Array, sizes: Array, *expected: int) -> Array:
    out = np.zeros_like(value)
    node = "Expand (node 'x')"
    native.function("checked_sizes")(_tensor(value), _tensor(sizes), tvm_ffi.Shape(expected), node, _tensor(out))
    return out


def _tensor(array: Any) -> Any:
    return tvm_ffi.from_dlpack(array)


def message(function: Any, *arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"^\w+ \(node 'x'\): .*$") as caught:
        function(*arguments)
    return str(caught.value)


@settings(max_examples=100, deadline=None)
@given(
    dtype=st.sampled_from(["int32", "int64"]),
    limits=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    data=st.data(),
)
def test_valid_indices_are_wrapped(dtype: str, limits: list[int], data: st.DataObject) -> None:
    shape = (*data.draw(st.lists(st.integers(0, 9), max_size=3)), len(limits))
    seed = data.draw(st.integers(0, 99))
    indices = np.random.default_rng(seed).integers(-np.array(limits), limits, shape).astype(dtype)
    np.testing.assert_array_equal(indices_of(indices, *limits), np.where(indices < 0, indices + limits, indices))


@settings(max_examples=100, deadline=None)
@given(dtype=st.sampled_from(["int32", "int64"]), limit=st.integers(0, 5), data=st.data())
def test_one_limit_for_all_and_the_first_wrong_index(dtype: str, limit: int, data: st.DataObject) -> None:
    extremes = [np.iinfo(dtype).min, np.iinfo(dtype).max, -limit - 1, -limit, limit - 1, limit]
    values = st.one_of(st.integers(-limit - 1, limit), st.sampled_from(extremes))
    indices = data.draw(arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=values))
    wrong = [int(index) for index in indices.ravel() if not -limit <= index < limit]
    if not wrong:
        np.testing.assert_array_equal(indices_of(indices, limit), np.where(indices < 0, indices + limit, indices))
        return
    possible = f"; it must be from {-limit} to {limit - 1}" if limit else ", which has no valid index"
    expected = f"{NODE}: index {wrong[0]} is out of range for an axis of size {limit}{possible}"
    assert message(indices_of, indices, limit) == expected


def test_the_message_has_the_limit_of_its_component() -> None:
    indices = np.array([[4, 2], [-5, -3], [0, 3]], np.int64)
    expected = f"{NODE}: index 3 is out of range for an axis of size 3; it must be from -3 to 2"
    assert message(indices_of, indices, 5, 3) == expected


@pytest.mark.parametrize("count", [15, 16, 17, 1000])
@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_one_wrong_index_anywhere(dtype: str, count: int) -> None:
    for place in range(0, count, 1 + count // 50):
        indices = np.arange(count, dtype=dtype) % 7 - 3
        indices[place] = -8
        assert "index -8 is out of range for an axis of size 7" in message(indices_of, indices, 7)


def test_limits_at_the_end_of_the_data_type() -> None:
    limit = 2**31 - 1
    indices = np.array([limit - 1, -limit, -1, 0], np.int32)
    np.testing.assert_array_equal(indices_of(indices, limit), [limit - 1, 0, limit - 1, 0])
    assert "-2147483648 is out of range" in message(indices_of, np.array([-(2**31)], np.int32), limit)
    assert "an axis of size 2147483648 needs int64" in message(indices_of, indices, limit + 1)
    wide = indices.astype(np.int64)
    np.testing.assert_array_equal(indices_of(wide, 2**40), wide % 2**40)


def test_the_limits_must_match_the_indices() -> None:
    assert "3 sizes do not match the last axis" in message(indices_of, np.zeros((3, 2), np.int64), 1, 1, 1)
    assert "0 sizes do not match" in message(indices_of, np.zeros((), np.int64))
    with pytest.raises(TypeError, match="indices must be int32 or int64"):
        indices_of(np.zeros(3, np.int16), 5)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_divisors(dtype: str) -> None:
    divisors = np.arange(1, 120, dtype=dtype).reshape(7, 17)
    divisors[0, :2] = [np.iinfo(dtype).min or 1, np.iinfo(dtype).max]
    np.testing.assert_array_equal(divisors_of(divisors), divisors)
    np.testing.assert_array_equal(divisors_of(divisors[:0]), divisors[:0])
    for place in range(0, divisors.size, 9):
        wrong = divisors.copy()
        wrong.flat[place] = 0
        assert message(divisors_of, wrong) == "Div (node 'x'): division of integers by zero"


def test_divisors_are_integers() -> None:
    with pytest.raises(TypeError, match="the data type must be an integer of 8 to 64 bits"):
        divisors_of(np.ones(3, np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_sizes(dtype: str) -> None:
    value = np.arange(6).reshape(2, 3).astype(dtype)
    np.testing.assert_array_equal(sizes_of(value, np.array([2, 1, 6]), 2, 1, 6), value)
    np.testing.assert_array_equal(sizes_of(value, np.zeros(0, np.int64)), value)
    fault = "Expand (node 'x'): the sizes are {} at run time, but the model was compiled for {}"
    assert message(sizes_of, value, np.array([2, 3, 6]), 2, 1, 6) == fault.format("2x3x6", "2x1x6")
    assert message(sizes_of, value, np.array([2, -1]), 2) == fault.format("2x-1", "2")
    assert message(sizes_of, value, np.zeros(0, np.int64), 2) == fault.format("those of a scalar", "2")


def test_the_copy_must_have_the_size_of_the_checked_tensor() -> None:
    function = native.function("checked_divisors")
    for out in (np.zeros(3, np.int32), np.zeros(4, np.int64)):
        with pytest.raises(ValueError, match="need the same data type and size"):
            function(_tensor(np.ones(4, np.int32)), "Div (node 'x')", _tensor(out))


class _DLTensor(ctypes.Structure):
    """The beginning of a DLManagedTensor: https://dmlc.github.io/dlpack."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 4),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Behind:
    """An array whose DLTensor points `offset` bytes before its data, and has that as its byte_offset."""

    def __init__(self, array: Array, offset: int) -> None:
        self.array, self.offset = array, offset

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **_: Any) -> Any:
        capsule = self.array.__dlpack__()
        pointer = ctypes.pythonapi.PyCapsule_GetPointer
        pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
        tensor = _DLTensor.from_address(pointer(capsule, b"dltensor"))
        tensor.data -= self.offset
        tensor.byte_offset = self.offset
        return capsule


def test_byte_offsets() -> None:
    memory, result = np.arange(-4, 4), np.zeros(8, np.int64)
    source, out = _tensor(_Behind(memory[4:], 32)), _tensor(_Behind(result[2:6], 16))
    native.function("checked_indices")(source, tvm_ffi.Shape([4]), NODE, out)
    np.testing.assert_array_equal(result, [0, 0, 0, 1, 2, 3, 0, 0])
    native.function("checked_divisors")(_tensor(_Behind(memory[:4], 8)), "Div", out)
    np.testing.assert_array_equal(result, [0, 0, -4, -3, -2, -1, 0, 0])
    native.function("checked_sizes")(source, _tensor(_Behind(memory[6:], 48)), tvm_ffi.Shape([2, 3]), "Expand", out)
    np.testing.assert_array_equal(result, [0, 0, 0, 1, 2, 3, 0, 0])
