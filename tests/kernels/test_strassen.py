"""``kernels.Dense`` with Strassen's algorithm, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.memory import CANARY
from tests.kernels.splits import splits
from tests.kernels.test_dense import layer

ISAS = [isa for isa in kernels.available_isas() if isa != "reference"]
LANES = {"avx512": 16, "avx2": 8}


def strassen(isa: str, **split: Any) -> dict[str, Any]:
    schedule = kernels.default_dense_schedule(64, 64, 64, isa)
    del schedule["threads"]
    return {**schedule, "algorithm": "strassen", **(split or {"threads_m": 1})}


def assert_right(y: np.ndarray, workload: Workload, inputs: dict[str, np.ndarray]) -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs, "strassen")
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=120, deadline=None)
@given(st.data())
def test_agrees_with_float64(isa: str, data: st.DataObject) -> None:
    """Any number of rows, odd ones included, in one block and in many, with any epilogue and division into threads."""
    threads = data.draw(st.integers(1, 4))
    split = data.draw(splits(threads))
    columns = split["threads"][1] if "threads" in split else threads // split["threads_m"]
    m = data.draw(st.one_of(st.integers(1, 9), st.integers(10, 300)))
    n = 2 * LANES[isa] * columns * data.draw(st.integers(1, 5))
    k = 2 * data.draw(st.one_of(st.integers(1, 9), st.integers(10, 700)))
    steps = [step for step in ("bias", "residual") if data.draw(st.booleans())]
    activation = data.draw(st.sampled_from([None, *ACTIVATIONS]))
    workload = Workload.dense(m, n, k, epilogue=(*steps, *([activation] if activation else [])))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, strassen(isa, **split))
    assert_right(op(inputs["x"], residual=inputs.get("residual")), workload, inputs)


@pytest.mark.parametrize("isa", ISAS)
def test_the_products_are_seven_of_halves(isa: str) -> None:
    """On integers that float32 represents, the output is exact; with rounding it differs from the direct sum."""
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((65, 96), (128, 96)))
    op = kernels.Dense(weight, isa=isa, schedule=strassen(isa))
    assert op.schedule(65)["algorithm"] == "strassen"
    np.testing.assert_array_equal(op(x), x @ weight.T)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((65, 96), (128, 96)))
    fast, direct = (kernels.Dense(weight, isa=isa, schedule=s)(x) for s in (strassen(isa), None))
    assert (fast != direct).any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("m", [1, 2, 63])
def test_a_residual_that_is_the_output_in_a_wall_of_canaries(isa: str, m: int) -> None:
    n = 4 * LANES[isa]
    workload = Workload.dense(m, n, 34, epilogue=("bias", "residual", "relu"))
    inputs = make_inputs(workload)
    wall = np.full((m + 2, n + 3), CANARY, np.float32)
    out = wall[1:-1, 1:-2]
    out[:] = inputs["residual"]
    layer(workload, inputs, isa, 1, strassen(isa))(inputs["x"], out, out)
    assert_right(out, workload, inputs)
    out[:] = CANARY
    np.testing.assert_array_equal(wall, CANARY)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("vectors", "k", "threads"), [(1, 32, 1), (3, 32, 1), (2, 33, 1), (2, 32, 2)])
def test_what_cannot_be_halved_is_rejected(isa: str, vectors: int, k: int, threads: int) -> None:
    n = vectors * LANES[isa]
    with pytest.raises(ValueError, match="Strassen's algorithm needs an even k"):
        kernels.Dense(np.zeros((n, k), np.float32), isa=isa, threads=threads, schedule=strassen(isa))


def test_only_the_fast_default_takes_it() -> None:
    for isa in kernels.available_isas():
        assert kernels.default_dense_schedule(128, 384, 1536, isa)["algorithm"] == "direct"
    model = kernels.MachineModel.interpolated(2)
    if "avx512" in kernels.available_isas():
        fast = kernels.default_dense_schedule(128, 384, 1536, "avx512", 2, fast=True, machine=model)
        assert (fast["algorithm"], fast["threads"]) == ("strassen", (2, 1))
        fast = kernels.default_dense_schedule(512, 512, 512, "avx512", fast=True, machine=model)
        assert fast["algorithm"] == "strassen"
        for m, n, k in ((1, 512, 2048), (784, 512, 64), (3136, 64, 256), (128, 392, 1536), (128, 384, 1537)):
            direct = kernels.default_dense_schedule(m, n, k, "avx512", fast=True, machine=model)
            assert direct["algorithm"] == "direct", (m, n, k)
