"""Products with few columns, whose register tiles are narrower than a vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from compiler.workloads.reference import make_inputs, reference, tolerance
from compiler.workloads.workload import ACTIVATIONS, Workload
from tests.kernels.convolutions import layer
from tests.kernels.memory import next_to_forbidden_page
from tests.kernels.splits import splits


def narrow(isa: str) -> list[tuple[int, int]]:
    tiles = kernels.narrow_tiles(isa)
    if not tiles:
        pytest.skip(f"{isa} has no tiles that are narrower than a vector")
    return tiles


def assert_right(y: np.ndarray, workload: Workload, inputs: dict[str, np.ndarray]) -> None:
    error = np.abs(y - reference(workload, inputs))
    allowed = tolerance(workload, inputs)
    assert (error <= allowed).all(), f"{workload}: {np.nanmax(error / allowed):.3g} times the tolerance"


def epilogue(draw: st.DrawFn) -> tuple[str, ...]:
    steps = [step for step in ("bias", "residual") if draw(st.booleans())]
    activation = draw(st.sampled_from([None, *ACTIVATIONS]))
    return (*steps, *([activation] if activation else []))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_dense_layers(isa: str, data: st.DataObject) -> None:
    mr, nr = data.draw(st.sampled_from(narrow(isa)))
    m, n, k = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 2 * nr)), data.draw(st.integers(1, 200))
    workload = Workload.dense(m, n, k, epilogue=data.draw(st.composite(epilogue)()))
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    threads = data.draw(st.integers(1, 3))
    schedule = {
        "mr": mr,
        "nr": nr,
        "mc": data.draw(st.integers(1, 70)),
        "kc": k,
        "nc": data.draw(st.integers(1, 20)),
        "order": data.draw(st.sampled_from(["m_inner", "n_inner"])),
        "pack_a": data.draw(st.booleans()),
        "prefetch": data.draw(st.sampled_from([0, 64])),
        "prefetch_next": data.draw(st.booleans()),
        **data.draw(splits(threads)),
    }
    bias, slopes = inputs.get("bias"), inputs.get("slopes")
    op = kernels.Dense(inputs["weight"], bias, workload.activation, isa, threads, schedule, slopes=slopes)
    y = op(next_to_forbidden_page(inputs["x"], "end"), residual=inputs.get("residual"))
    assert_right(y, workload, inputs)
    # The residual may be the output itself.
    if "residual" in inputs:
        out = inputs["residual"].copy()
        op(inputs["x"], out=out, residual=out)
        np.testing.assert_array_equal(out, y)


@st.composite
def convolutions(draw: st.DrawFn, widest: int) -> Workload:
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    c, o = groups * draw(st.integers(2, 40)), groups * draw(st.integers(1, widest))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(2, 9)))
    stride, dilation = (draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) for _ in range(2))
    padding = draw(st.tuples(*[st.integers(0, 3)] * 4))
    spans = [d * (size - 1) + 1 for d, size in zip(dilation, kernel, strict=True)]
    h = draw(st.integers(max(1, spans[0] - padding[0] - padding[2]), 12))
    w = draw(st.integers(max(1, spans[1] - padding[1] - padding[3]), 40))
    steps = draw(st.composite(epilogue)())
    return Workload.conv2d(
        draw(st.integers(1, 2)), h, w, c, o, kernel, stride, padding, dilation, groups, epilogue=steps
    )


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_convolutions(isa: str, data: st.DataObject) -> None:
    widest = max(nr for _, nr in narrow(isa))
    workload = data.draw(convolutions(widest))
    s = workload.sizes
    columns = s["o"] // s["groups"]
    threads = data.draw(st.integers(1, 3))
    schedule: dict[str, Any] = {
        "algorithm": "direct",
        "mr": data.draw(st.sampled_from([mr for mr, nr in narrow(isa) if nr == columns])),
        "nr": columns,
        "rows": data.draw(st.integers(1, 12)),
        "kc": workload.reduction,
        "prefetch": 0,
        "prefetch_next": data.draw(st.booleans()),
        **data.draw(splits(threads)),
    }
    inputs = make_inputs(workload, seed=data.draw(st.integers(0, 1000)))
    op = layer(workload, inputs, isa, threads, schedule)
    y = op(next_to_forbidden_page(inputs["x"], "end"), residual=inputs.get("residual"))
    assert_right(y, workload, inputs)


def test_nan_stays_in_its_row(isa: str) -> None:
    """The lanes beyond k are not read: NaN after a row, in the next one, does not spoil it."""
    narrow(isa)
    x = np.ones((5, 3), np.float32)
    x[2] = np.nan
    schedule = {**kernels.default_dense_schedule(5, 1, 3, isa), "mr": 4, "nr": 1, "kc": 3}
    y = kernels.Dense(np.ones((1, 3), np.float32), isa=isa, schedule=schedule)(x)
    assert np.isnan(y[2, 0])
    np.testing.assert_array_equal(np.delete(y, 2, axis=0), 3.0)


def test_few_columns_choose_them(isa: str) -> None:
    """A long sum with one column takes a sixteenth of the products of a vector of columns."""
    tiles = narrow(isa)
    schedule = kernels.default_dense_schedule(64, 1, 1024, isa)
    assert (schedule["mr"], schedule["nr"]) in tiles


@pytest.mark.parametrize("kc", [1, 8])
def test_a_part_of_the_sum(isa: str, kc: int) -> None:
    narrow(isa)
    schedule = {**kernels.default_dense_schedule(4, 2, 9, isa), "mr": 1, "nr": 2, "kc": kc}
    with pytest.raises(ValueError, match=r"needs the entire sum: kc of at least 9, got"):
        kernels.Dense(np.ones((2, 9), np.float32), isa=isa, schedule=schedule)


def test_no_such_tile(isa: str) -> None:
    mr, nr = narrow(isa)[-1]
    schedule = {**kernels.default_dense_schedule(4, nr, 9, isa), "mr": mr + 1, "nr": nr, "kc": 9}
    with pytest.raises(ValueError, match=f"no {mr + 1}x{nr} register tile"):
        kernels.Dense(np.ones((nr, 9), np.float32), isa=isa, schedule=schedule)
