"""Functions of float32 in generated code against float64 over the entire range, within their stated bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

import kernels
from compiler.workloads.target import Target

tvm = pytest.importorskip("tvm")
vector_math = pytest.importorskip("compiler.tvm_backend.vector_math", exc_type=ImportError)

pytestmark = pytest.mark.tvm

ISAS = kernels.available_isas()
COUNT = 1 << 16
LARGEST = float(np.finfo(np.float32).max)
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1, LARGEST, -LARGEST, 2.0**-126, 2.0**-149, -(2.0**-149)])

# Error in ulp, the exact function, and the smallest result whose ulp counts.
BOUNDS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray], float]] = {
    "acos": (3, np.arccos, 0),
    "asin": (4, np.arcsin, 0),
    "atan": (3, np.arctan, 0),
    "cos": (2, np.cos, 2.0**-24),
    "erf": (6, np.vectorize(math.erf, otypes=[np.float64]), 0),
    "exp": (2, np.exp, 0),
    "log": (2, np.log, 0),
    "log1p": (3, np.log1p, 0),
    "sigmoid": (4, lambda x: 1 / (1 + np.exp(-x)), 2.0**-105),
    "sin": (2, np.sin, 2.0**-24),
    "tan": (4, np.tan, 2.0**-24),
    "tanh": (6, np.tanh, 0),
}


@cache
def values() -> np.ndarray:
    """All exponents, dense values around zero and one, multiples of pi / 2, and special values."""
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, COUNT, dtype=np.uint32).view(np.float32)
    near = np.concatenate([rng.uniform(-2, 2, COUNT // 4), rng.uniform(-110, 110, COUNT // 4)])
    halves = np.arange(1, COUNT // 8) * (math.pi / 2)
    ones = 1 + rng.standard_normal(COUNT // 8) * 10.0 ** rng.uniform(-7, -1, COUNT // 8)
    found = np.concatenate([bits, near, halves, -halves, ones, SPECIAL]).astype(np.float32)
    return np.resize(found, len(found) // 64 * 64 + 64)


def computed(function: Callable[..., Any], isa: str, *arrays: np.ndarray) -> np.ndarray:
    """Compiles and runs a function of the elements of arrays of one size, a multiple of 64, with vectors."""
    from compiler.tvm_backend.codegen import program_target
    from compiler.tvm_backend.generic_schedule import schedule_functions

    size = (len(arrays[0]),)
    places = [tvm.te.placeholder(size, "float32", name=f"x{i}") for i in range(len(arrays))]
    result = tvm.te.compute(size, lambda i: function(*(place(i) for place in places)), name="y")
    module = tvm.IRModule({"main": tvm.te.create_prim_func([*places, result])})
    target = Target.from_host(isa=isa, num_cores=1)
    module = schedule_functions(target)(module)
    assert target.lanes < 4 or "T.vectorized" in module.script()
    assert "extern" not in module.script()
    answer = tvm.runtime.tensor(np.empty(size, np.float32))
    tvm.compile(module, program_target(target))["main"](*map(tvm.runtime.tensor, arrays), answer)
    return answer.numpy()


def errors(got: np.ndarray, exact: np.ndarray, least: float) -> np.ndarray:
    """Returns the errors in ulp of the exact results, or of ``least`` if that is larger; infinite for a wrong kind."""
    rounded = exact.astype(np.float32)
    right = np.clip(exact, -LARGEST, LARGEST)
    unit = np.spacing(np.maximum(np.abs(right), max(least, 2.0**-126)).astype(np.float32)).astype(np.float64)
    found = np.abs(np.clip(got.astype(np.float64), -(2.0**128), 2.0**128) - right) / unit
    # What overflows may be the largest number, whose neighbor is infinity.
    found = np.where((np.isinf(rounded) & np.isfinite(exact)) & np.isinf(got), 0, found)
    alike = np.isinf(exact) & (got == exact) | np.isnan(exact) & np.isnan(got)
    wrong = ~alike & (~np.isfinite(exact) | np.isnan(got))
    return np.where(alike, 0, np.where(wrong, np.inf, found))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", BOUNDS)
def test_error_over_the_entire_range(name: str, isa: str) -> None:
    bound, exact, least = BOUNDS[name]
    x = values()
    got = computed(vector_math.FUNCTIONS[f"tirx.{name}"], isa, x)
    with np.errstate(all="ignore"):
        want = exact(x.astype(np.float64))
    found = errors(got, want, least)
    worst = int(np.argmax(found))
    assert found[worst] <= bound, f"{name}({x[worst]!r}) is {want[worst]!r}, got {got[worst]!r}"


@pytest.mark.parametrize("name", ["asin", "atan", "erf", "log1p", "sin", "tan", "tanh"])
def test_signs_of_zero(name: str) -> None:
    x = np.resize(np.array([0.0, -0.0], np.float32), 64)
    got = computed(vector_math.FUNCTIONS[f"tirx.{name}"], ISAS[0], x)
    np.testing.assert_array_equal(got.view(np.int32), x.view(np.int32))


def test_every_function_has_a_bound() -> None:
    assert {f"tirx.{name}" for name in BOUNDS} == set(vector_math.FUNCTIONS)


def power_error(isa: str, x: np.ndarray, y: np.ndarray | float) -> None:
    constant = np.ndim(y) == 0
    y = np.asarray(y, np.float32)
    arrays = [x] if constant else [x, y]
    exponent = tvm.tirx.const(float(y), "float32") if constant else None
    got = computed(lambda a, *b: vector_math.power(a, exponent if constant else b[0]), isa, *arrays)
    with np.errstate(all="ignore"):
        # NumPy computes the root for a scalar of 0.5, which is NaN for minus infinity.
        want = np.power(x.astype(np.float64), np.broadcast_to(y, x.shape).astype(np.float64))
    found = errors(got, want, 0)
    worst = int(np.argmax(found))
    at = y if constant else arrays[1][worst]
    assert found[worst] <= 1.5, f"{x[worst]!r}^{at!r} is {want[worst]!r}, got {got[worst]!r}"
    zeros = (want == 0) & (got == 0)
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(want[zeros]))


@pytest.mark.parametrize("isa", ISAS[:1])  # compilation takes ten seconds
def test_powers_of_two_tensors(isa: str) -> None:
    rng = np.random.default_rng(1)
    x = values()
    ends = np.concatenate([SPECIAL, [0.5, -0.5, 2, -2, 3, -3, 1e9, -1e9, 16777217]]).astype(np.float32)
    grid = np.array(np.meshgrid(ends, ends)).reshape(2, -1)
    pairs = [
        (np.abs(x), rng.uniform(-40, 40, len(x))),
        (np.abs(x), rng.integers(0, 2**32, len(x), dtype=np.uint32).view(np.float32)),
        (x, rng.integers(-9, 10, len(x)) / 2),
        np.pad(grid, ((0, 0), (0, -grid.shape[1] % 64)), constant_values=1),
    ]
    power_error(isa, *(np.concatenate([np.float32(part) for part in parts]) for parts in zip(*pairs, strict=True)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "y",
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 17.0, 64.0, 65.0, -1.0, -2.0, -3.0, 0.5, -0.5, 1.5, 2.93, -0.3333, 1e30, math.inf],
)
def test_powers_with_a_constant_exponent(y: float, isa: str) -> None:
    power_error(isa, values(), y)
