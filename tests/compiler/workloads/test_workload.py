"""Sizes that go together and sizes that do not; flops and bytes against counts made in another way."""

from __future__ import annotations

import itertools
import json
from math import prod
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler.workloads.operators import OPERATORS
from compiler.workloads.operators.operator import at_least
from compiler.workloads.operators.recurrent import GATES
from compiler.workloads.workload import Workload

PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw: st.DrawFn) -> Workload:
    groups = draw(st.integers(1, 3))
    try:
        return Workload.conv2d(
            draw(st.integers(1, 2)),
            draw(st.integers(1, 7)),
            draw(st.integers(1, 7)),
            groups * draw(st.integers(1, 2)),
            groups * draw(st.integers(1, 2)),
            draw(PAIRS),
            draw(PAIRS),
            draw(st.tuples(*[st.integers(0, 2)] * 4)),
            draw(PAIRS),
            groups,
        )
    except ValueError:
        assume(False)
        raise


def positions(size: int, kernel: int, stride: int, before: int, after: int, dilation: int) -> list[list[int]]:
    """For each output row, the input rows that it is a sum over, padding included, by walking along the image."""
    first = range(-before, size + after - dilation * (kernel - 1), stride)
    return [[start + dilation * i for i in range(kernel)] for start in first]


@given(workload=convolutions())
def test_a_convolution_counted_by_hand(workload: Workload) -> None:
    s = workload.sizes
    rows = positions(s["h"], s["kh"], s["stride_h"], s["pad_top"], s["pad_bottom"], s["dilation_h"])
    columns = positions(s["w"], s["kw"], s["stride_w"], s["pad_left"], s["pad_right"], s["dilation_w"])
    assert workload.output_shape == (s["n"], len(rows), len(columns), s["o"])
    products = sum(len(r) * len(c) for r, c in itertools.product(rows, columns))
    assert workload.flops == 2 * s["n"] * s["o"] * (s["c"] // s["groups"]) * products
    read = len({r for at in rows for r in at if 0 <= r < s["h"]}) * len(
        {c for at in columns for c in at if 0 <= c < s["w"]}
    )
    least = 4 * (s["n"] * read * s["c"] + prod(workload.input_shapes["weight"]) + prod(workload.output_shape))
    assert least <= workload.bytes <= least + 4 * s["n"] * s["c"] * (s["h"] * s["w"] - read)


def test_a_stride_longer_than_the_kernel_skips_input() -> None:
    strided = Workload.conv2d(1, 56, 56, 256, 512, 1, stride=2)
    assert strided.output_shape == (1, 28, 28, 512)
    assert strided.bytes == 4 * (28 * 28 * 256 + 256 * 512 + 28 * 28 * 512)


@pytest.mark.parametrize(
    ("workload", "flops", "activations", "weight", "bias"),
    [
        (Workload.dense(2, 3, 5), 60, 10 + 6, 15, 0),
        (Workload.dense(2, 3, 5, epilogue=("bias", "residual", "relu")), 60, 10 + 6 + 6, 15, 3),
        (Workload.attention(2, 3, 4, 5, 8), 2 * 2 * 2 * 3 * 4 * 5 * 8, 2 * 3 * 8 * (4 + 5 + 5 + 4), 0, 0),
        (Workload.conv2d(1, 4, 4, 6, 6, 3, padding=1, groups=6, epilogue=("bias",)), 2 * 96 * 9, 96 + 96, 54, 6),
        (Workload("add", (3, 4)), 0, 36, 0, 0),
    ],
)
@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_flops_and_bytes(
    workload: Workload, flops: int, activations: int, weight: int, bias: int, dtype: str, size: int
) -> None:
    workload = Workload(workload.op, workload.dims, dtype, workload.epilogue)
    assert workload.flops == flops
    assert workload.weight_bytes == size * weight + 4 * bias
    assert workload.bytes == size * activations + workload.weight_bytes


def test_constructors_take_one_number_for_all_sides() -> None:
    spelled_out = Workload.conv2d(1, 9, 9, 4, 8, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1)
    assert Workload.conv2d(1, 9, 9, 4, 8, 3, 2, 1) == spelled_out
    assert (
        Workload.conv2d(1, 9, 9, 4, 8, 3, padding=(1, 2)).sizes | {}
        == Workload.conv2d(1, 9, 9, 4, 8, 3, padding=(1, 2, 1, 2)).sizes
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Workload("conv9d", (1,)),
            "unknown op 'conv9d'; choose from: dense, block_dense, conv2d, conv_transpose2d",
        ),
        (lambda: Workload("dense", (1, 2)), "dense takes 3 sizes >= 1 (mxnxk), got (1, 2)"),
        (lambda: Workload("dense", (1, 0, 2)), "dense takes 3 sizes >= 1"),
        (lambda: Workload.dense(1, 2, 3, "float7"), "unknown dtype 'float7' for dense; choose from: float32, bfloat16"),
        (lambda: Workload.conv2d(1, 8, 8, 4, 4, 3, padding=-1), "conv2d takes 16 sizes >= 1, paddings >= 0"),
        (lambda: Workload.conv2d(1, 8, 8, 4, 4, 3, stride=0), "conv2d takes 16 sizes >= 1, paddings >= 0"),
        (lambda: Workload.conv2d(1, 8, 8, 4, 6, 3, groups=4), "conv2d: groups=4 must divide both c=4 and o=6"),
        (
            lambda: Workload.conv2d(1, 8, 3, 4, 4, 3, dilation=2, padding=(1, 0)),
            "conv2d: a kernel that spans 5x5 does not fit the padded image of 10x3",
        ),
        (
            lambda: Workload("attention", (1, 1, 1, 1, 1), epilogue=("relu",)),
            "attention takes no epilogue, got ('relu',)",
        ),
        (lambda: Workload.dense(1, 2, 3, epilogue=("relu", "bias")), "is not bias, residual, one of"),
    ],
)
def test_what_does_not_go_together(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below, without escapes
        make()
    assert message in str(error.value)


@given(workload=convolutions())
def test_json_keeps_everything(workload: Workload) -> None:
    assert Workload.from_json(json.loads(json.dumps(workload.to_json()))) == workload


def test_every_operator_of_smallest_sizes() -> None:
    for op, definition in OPERATORS.items():
        smallest = {"bits": 2}  # not a size
        workload = Workload(op, tuple(smallest.get(dim, at_least(dim)) for dim in definition.dims))
        terms = 2 if op in GATES else 1  # a gate of a recurrent layer is a sum over x and h
        assert set(map(prod, workload.input_shapes.values())) == {1, terms * GATES.get(op, 1)}
        assert prod(workload.output_shape) == 1
        assert (workload.reduction, workload.flops > 0) in ((terms, True), (0, False))
