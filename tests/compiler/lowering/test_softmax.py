"""The Softmax nodes that our kernel computes, and their outputs against ONNX Runtime."""

from __future__ import annotations

from math import prod

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import compiler
from tests.compiler.lowering.test_lower import select
from tests.compiler.models import assert_answers, graph, kernels_of
from tests.graph_passes import oracle

SIZES = st.sampled_from([1, 1, 2, 5])


def softmax(shape: tuple[int, ...], axis: int | None, opset: int = 13) -> onnx.ModelProto:
    attribute = "" if axis is None else f"<axis = {axis}>"
    return graph(f"float[{','.join(map(str, shape))}] x", "", {"y": f"@ = Softmax {attribute} (x)"}, opset)


@pytest.mark.tvm
@settings(max_examples=40, deadline=None)
@given(shape=st.lists(SIZES, min_size=1, max_size=5).map(tuple), opset=st.sampled_from([11, 13, 18]), data=st.data())
def test_any_axis_of_any_shape(shape: tuple[int, ...], opset: int, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    model = softmax(shape, axis, opset)
    found = compiler.build(model, threads=1)
    if opset >= 13:
        assert kernels_of(found)["softmax"] == (prod(shape[axis % len(shape) + 1 :]) == 1)
    assert_answers(found, model, oracle.random_inputs(model, seed=1))


@pytest.mark.parametrize(
    ("shape", "axis", "opset", "rows"),
    [
        ((1, 5), 0, 13, None),
        ((1, 5), 0, 11, [1, 5]),
        ((2, 1, 6), 1, 13, None),
        ((2, 6, 1), 1, 13, [2, 6]),
        ((2, 6, 1), -1, 13, [12, 1]),
        ((2, 3, 4), None, 13, [6, 4]),
        ((2, 3, 4), None, 11, [2, 12]),
        ((2, 3, 4), -3, 11, [1, 24]),
        ((5,), 0, 13, [1, 5]),
    ],
)
def test_rows_of_the_kernel(shape: tuple[int, ...], axis: int | None, opset: int, rows: list[int] | None) -> None:
    layers = select(softmax(shape, axis, opset))[1]
    assert [layer.attributes["sizes"] for layer in layers] == ([] if rows is None else [rows])


def test_a_stated_shape_that_contradicts_the_input() -> None:
    model = softmax((2, 3, 5), -1, 11)
    dims = model.graph.output[0].type.tensor_type.shape.dim
    del dims[2]
    dims[1].dim_value = 15
    (layer,) = select(model)[1]
    assert layer.output_shape == (2, 3, 5)
