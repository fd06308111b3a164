"""Shapes as text: the two directions agree, and invalid text gives one line with the notation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.commands.shapes import layer_name, notation, parse_shape, shape_text
from compiler.workloads.operators import OPERATORS
from compiler.workloads.workload import Workload


@pytest.mark.parametrize(
    ("text", "workload"),
    [
        ("1x56x56x64x64x3x3", Workload.conv2d(1, 56, 56, 64, 64, 3)),
        ("1x56x56x64x64x3x3,padding=1", Workload.conv2d(1, 56, 56, 64, 64, 3, padding=1)),
        ("1x9x9x8x8x3x5,stride=2:1,padding=1:2", Workload.conv2d(1, 9, 9, 8, 8, (3, 5), (2, 1), (1, 2))),
        ("1x9x9x8x8x3x3,padding=0:1:2:3", Workload.conv2d(1, 9, 9, 8, 8, 3, padding=(0, 1, 2, 3))),
        (
            "2x9x9x8x8x3x3,stride=2,padding=1,dilation=2,groups=8",
            Workload.conv2d(2, 9, 9, 8, 8, 3, 2, 1, 2, groups=8),
        ),
        ("2x3x4", Workload.dense(2, 3, 4)),
        ("1x12x128x130x64", Workload.attention(1, 12, 128, 130, 64)),
    ],
)
def test_text_and_workload(text: str, workload: Workload) -> None:
    assert parse_shape(workload.op, text) == workload.dims
    assert shape_text(workload) == text


@given(
    sizes=st.tuples(*[st.integers(20, 90)] * 5, *[st.integers(1, 5)] * 2),
    strides=st.tuples(*[st.integers(1, 2)] * 2),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    dilations=st.tuples(*[st.integers(1, 2)] * 2),
)
def test_a_written_convolution_is_read_again(
    sizes: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], dilations: tuple[int, ...]
) -> None:
    workload = Workload("conv2d", (*sizes, *strides, *pads, *dilations, 1))
    assert parse_shape("conv2d", shape_text(workload)) == workload.dims


def test_order_and_length_of_options_are_free() -> None:
    usual = Workload.conv2d(1, 9, 9, 8, 8, 3, 2, 1)
    for text in ("padding=1,stride=2", "stride=2:2,padding=1:1", "padding=1:1:1:1,groups=1,stride=2,dilation=1:1"):
        assert parse_shape("conv2d", f"1x9x9x8x8x3x3,{text}") == usual.dims


@pytest.mark.parametrize(
    ("op", "text", "message"),
    [
        ("conv2d", "1x9x9x8x8x3", "conv2d takes 7 sizes (nxhxwxcxoxkhxkw), such as"),
        ("conv2d", "1x9x9x8x8x3x3,same", "is not a shape of conv2d; write NxHxWxCxOxKHxKW[,stride=N:N]"),
        ("conv2d", "1x9x9x8x8x3x3,", "is not a shape of conv2d"),
        ("conv2d", "1x9x9x8x8x3x3,strides=2", "no option 'strides'; it has: stride, padding, dilation, groups"),
        ("conv2d", "1x9x9x8x8x3x3,padding=1:2:3", "padding takes 1 or 2 or 4 whole numbers separated by colons"),
        ("conv2d", "1x9x9x8x8x3x3,padding=-1", "padding takes"),
        ("conv2d", "1x9x9x8x8x3x3,stride=", "stride takes 1 or 2 whole numbers"),
        ("conv2d", "1x9x9x8x8x3x3,stride=2,stride=1", "stride is given twice"),
        ("conv2d", "1x9x9x8x8x3x3,groups=2:2", "groups takes 1 whole number"),
        ("dense", "1x2x3,stride=2", "dense has no option 'stride'; it has no options"),
        ("attention", "1x2x3", "attention takes 5 sizes (batchxheadsxqueriesxkeysxhead_dim)"),
    ],
)
def test_invalid_shapes(op: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below, without escapes
        parse_shape(op, text)
    assert repr(text) in str(error.value)
    assert message in str(error.value)


def test_every_operator_has_layers_and_an_example() -> None:
    for op, definition in OPERATORS.items():
        assert notation(op)
        assert Workload(op, parse_shape(op, definition.notation.example))
        assert definition.networks
        for dims, name in definition.networks.items():
            assert layer_name(Workload(op, dims)) == name
    assert layer_name(Workload.dense(1, 1, 1)) == ""
