"""Branches that passes for our lowering rewrite: layouts and axes inside them, and which branches stay."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest

import graph_passes
from graph_passes.channels_last import ChannelsLast
from graph_passes.two_axes import TwoAxes
from tests.graph_passes import oracle
from tests.graph_passes.models import either, model

LAYERS = "{p} = Conv <pads = [1, 1, 1, 1]> (x, w) {q} = Relu ({p}) {out} = Conv <pads = [1, 1, 1, 1]> ({q}, w)"
OF_ONE_AXIS = LAYERS.replace("[1, 1, 1, 1]", "[1, 1]")


def branching(first: str, second: str, x: str, weights: str, shapes: tuple[str, str]) -> onnx.ModelProto:
    then = f"float{shapes[0]} a {{ {first.format(p='p', q='q', out='a')} }}"
    other = f"float{shapes[1]} b {{ {second.format(p='r', q='s', out='b')} }}"
    output = shapes[0] if shapes[0] == shapes[1] else f"[{', '.join('NMKL'[: shapes[0].count(',') + 1])}]"
    return model(f"g (bool c, float{x} x) => (float{output} y) <{weights}> {{ {either('y', 'c', then, other)} }}")


def inner(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    for attribute in proto.graph.node[-1].attribute:
        yield from attribute.g.node


def assert_same(original: onnx.ModelProto, found: onnx.ModelProto) -> None:
    onnx.checker.check_model(found, full_check=True)
    shape = [dim.dim_value for dim in original.graph.input[1].type.tensor_type.shape.dim]
    x = np.random.default_rng(2).standard_normal(shape, np.float32)
    for condition in (True, False):
        oracle.assert_same(original, found, {"c": np.array(condition), "x": x})


IMAGE = ("[1,4,6,5]", "float[4,4,3,3] w")


def test_images_of_branches_have_channels_last_inside() -> None:
    original = branching(LAYERS, "{out} = Neg (x)", *IMAGE, ("[1,4,6,5]", "[1,4,6,5]"))
    found = graph_passes.optimize(original, passes=[ChannelsLast()]).model
    assert_same(original, found)
    names = [node.op_type for node in inner(found)]
    assert names.count("Conv_nhwc") == 2
    assert names.count("Transpose") == 2  # at the ends of the first branch


def test_a_value_from_outside_with_channels_last() -> None:
    """The transposes of x, which both branches read, are in the branches: only one of them runs."""
    original = branching(LAYERS, LAYERS, *IMAGE, ("[1,4,6,5]", "[1,4,6,5]"))
    found = graph_passes.optimize(original, passes=[ChannelsLast()]).model
    assert_same(original, found)
    assert [node.op_type for node in found.graph.node] == ["If"]
    assert [node.op_type for node in inner(found)].count("Transpose") == 4


def test_branches_of_different_shapes_stay() -> None:
    """ONNX Runtime runs such an If, and would run all transposes."""
    original = branching(LAYERS, "{out} = Concat <axis = 0> (x, x)", *IMAGE, ("[1,4,6,5]", "[2,4,6,5]"))
    found = graph_passes.optimize(original, passes=[ChannelsLast()]).model
    assert [node.op_type for node in inner(found)] == [node.op_type for node in inner(original)]


@pytest.mark.parametrize("second", ["{out} = Neg (x)", OF_ONE_AXIS])
def test_images_of_one_axis_in_branches(second: str) -> None:
    original = branching(OF_ONE_AXIS, second, "[2,4,7]", "float[4,4,3] w", ("[2,4,7]", "[2,4,7]"))
    found = graph_passes.optimize(original, passes=[TwoAxes()]).model
    assert_same(original, found)
    inferred = onnx.shape_inference.infer_shapes(found, strict_mode=True)
    types = {v.name: v.type for a in inferred.graph.node[-1].attribute for v in a.g.value_info}
    convolutions = [node for node in inner(found) if node.op_type == "Conv"]
    assert len(convolutions) == (2 if "Neg" in second else 4)
    assert all(len(types[node.input[0]].tensor_type.shape.dim) == 4 for node in convolutions)
