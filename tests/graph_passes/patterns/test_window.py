"""Windows compared with onnx: the size of the output, and the pixels that an output depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx import helper

from graph_passes.lazy import ir
from graph_passes.model_io import read
from graph_passes.patterns.window import Window
from tests.graph_passes import oracle

OPERATORS = ("Conv", "MaxPool", "AveragePool", "LpPool")
AUTO = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True)
class Case:
    """A window over an image of one channel."""

    op: str
    image: tuple[int, ...]
    kernel: tuple[int, ...]
    attributes: dict[str, Any]

    def model(self) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 1, *self.image))]
        attributes = self.attributes
        if self.op == "Conv":
            inputs.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, (1, 1, *self.kernel)))
        else:
            attributes = {"kernel_shape": self.kernel, **attributes}
        node = helper.make_node(self.op, [i.name for i in inputs], ["y"], **attributes)
        output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "g", inputs, [output])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rank = draw(st.integers(1, 2))

    def each(low: int, high: int) -> tuple[int, ...]:
        return draw(st.tuples(*[st.integers(low, high)] * rank))

    op = draw(st.sampled_from(OPERATORS))
    attributes: dict[str, Any] = {}
    kernel = each(1, 4)
    if draw(st.booleans()):
        attributes["strides"] = each(1, 3)
    auto = draw(st.sampled_from(AUTO))
    dilations = each(1, 3) if draw(st.booleans()) else None
    if dilations and auto in ("NOTSET", "VALID"):  # together with SAME, onnx and ONNX Runtime contradict each other
        attributes["dilations"] = dilations
    if auto != "NOTSET" or draw(st.booleans()):
        attributes["auto_pad"] = auto
    if auto == "NOTSET" and draw(st.booleans()):
        pads = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        attributes["pads"] = pads
    return Case(op, each(1, 12), kernel, attributes)


def window_of(model: onnx.ModelProto) -> Window | None:
    (node,) = read(model).graph
    return Window.of(node)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_it_has_as_many_positions_as_onnx_says(case: Case) -> None:
    model = case.model()
    window = window_of(model)
    assume(window is not None)  # SAME of windows that skip pixels is ambiguous
    assert window is not None
    positions = window.output(case.image)
    assume(min(positions) > 0)
    shape = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    assert positions == tuple(dim.dim_value for dim in shape.dim)[2:]


@settings(max_examples=150, deadline=None)
@given(cases(), st.data())
def test_written_out_it_gives_the_same_answer(case: Case, data: st.DataObject) -> None:
    """``write`` sets every attribute explicitly, with the same meaning as before."""
    model = case.model()
    rewritten = read(model)
    (node,) = rewritten.graph
    window = Window.of(node)
    assume(window is not None)
    assert window is not None
    assume(min(window.output(case.image)) > 0)
    # ONNX Runtime does not support a pooling that skips pixels and pads to the SAME size.
    assume(case.op == "Conv" or all(k >= s for k, s in zip(window.kernel, window.strides, strict=True)))
    window.write(node)
    assert "auto_pad" not in node.attributes
    assert Window.of(node) == window
    seed = data.draw(st.integers(0, 9))
    inputs = oracle.random_inputs(model, seed)
    (before,), (after,) = oracle.run(model, inputs), oracle.run(ir.serde.serialize_model(rewritten), inputs)
    np.testing.assert_array_equal(after, before)
    assert before.shape[2:] == window.output(case.image)


@pytest.mark.parametrize(
    ("node", "pointwise"),
    [
        ("Conv(x, w)", True),
        ("Conv<strides = [2, 2]>(x, w)", True),
        ("Conv<dilations = [3, 3]>(x, w)", True),
        ("Conv<pads = [0, 0, 0, 1]>(x, w)", False),
        ("MaxPool<kernel_shape = [1, 1]>(x)", True),
        ("MaxPool<kernel_shape = [1, 2]>(x)", False),
    ],
)
def test_pointwise_is_what_reads_one_pixel_an_answer(node: str, pointwise: bool) -> None:
    window = window_of(parsed(f"(float[1, 1, 8, 8] x, float[1, 1, 1, 1] w) => (float[1, 1, A, B] y) {{ y = {node} }}"))
    assert window is not None
    assert window.pointwise == pointwise


@pytest.mark.parametrize(
    ("node", "known"),
    [
        ("Conv(x, w)", False),
        ("Conv<kernel_shape = [3, 3]>(x, w)", True),
        ('Conv<kernel_shape = [3, 3], auto_pad = "SAME_UPPER">(x, w)', False),
        ('MaxPool<kernel_shape = [3, 3], auto_pad = "SAME_LOWER">(x)', False),
        ('MaxPool<kernel_shape = [3, 3], auto_pad = "VALID">(x)', True),
        ("MaxPool<kernel_shape = [3, 3], strides = [2]>(x)", False),
        ("Conv<kernel_shape = [3, 3], pads = [1, 1]>(x, w)", False),
    ],
)
def test_an_unknown_window_gives_none(node: str, known: bool) -> None:
    """A kernel or an image of unknown size, and attributes for another number of axes."""
    model = parsed(f"(float[1, 1, H, W] x, float[1, 1, K, K] w) => (float[1, 1, A, B] y) {{ y = {node} }}")
    assert (window_of(model) is not None) == known


def parsed(body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> g {body}')
