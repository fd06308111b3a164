"""Random convolutional networks that keep their own account of which channels depend on each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

SIZE = 6
Source = tuple[str, int]  # a layer that makes channels, and an output channel of it


@dataclass(frozen=True)
class Value:
    """An image or a matrix.

    Attributes:
        name: its name.
        sources: for each channel, the channels of layers that it depends on elementwise; empty for the input's.
        size: rows and columns of the image; 0 for a matrix.
    """

    name: str
    sources: tuple[frozenset[Source], ...]
    size: int


@dataclass
class Network:
    """A network under construction.

    Attributes:
        reads: for each layer that sums over channels, by its node's name: what it reads.
    """

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: list[onnx.TensorProto] = field(default_factory=list)
    reads: dict[str, Value] = field(default_factory=dict)

    def constant(self, array: np.ndarray) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(array, name))
        return name

    def normal(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def node(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op_type}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}_y"], name, **attributes))
        return f"{name}_y"

    def conv(self, x: Value, channels: int, kernel: int = 1, op_type: str = "Conv") -> Value:
        read = len(x.sources)
        shape = (channels, read, kernel, kernel) if op_type == "Conv" else (read, channels, kernel, kernel)
        y = self.node(op_type, [x.name, self.normal(*shape), self.normal(channels)], pads=[kernel // 2] * 4)
        name = self.nodes[-1].name
        self.reads[name] = x
        return Value(y, tuple(frozenset({(name, channel)}) for channel in range(channels)), x.size)

    def depthwise(self, x: Value, times: int) -> Value:
        channels = len(x.sources)
        weight = self.normal(channels * times, 1, 3, 3)
        y = self.node("Conv", [x.name, weight], group=channels, pads=[1] * 4)
        return Value(y, tuple(source for source in x.sources for _ in range(times)), x.size)

    def same(self, x: Value, op_type: str, *constants: str, **attributes: object) -> Value:
        return Value(self.node(op_type, [x.name, *constants], **attributes), x.sources, x.size)

    def batch_norm(self, x: Value) -> Value:
        channels = len(x.sources)
        variance = self.constant(self.rng.uniform(0.5, 2, channels).astype(np.float32))
        others = [self.normal(channels) for _ in range(3)]
        return self.same(x, "BatchNormalization", *others, variance)

    def together(self, x: Value, y: Value, op_type: str) -> Value:
        """An elementwise operator on two values with channels, one of which may have one pixel."""
        sources = tuple(one | other for one, other in zip(x.sources, y.sources, strict=True))
        return Value(self.node(op_type, [x.name, y.name]), sources, max(x.size, y.size))

    def model(self, y: Value) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
            [helper.make_tensor_value_info(y.name, TensorProto.FLOAT, None)],
            self.tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


STEPS = (
    "conv conv3 depthwise depthwise2 relu tanh sigmoid batch_norm prelu scale shift residual gate squeeze_excite "
    "concat max_pool resize transposed pad_and_slice"
).split()


@st.composite
def networks(draw: st.DrawFn) -> tuple[onnx.ModelProto, Network]:
    """Draws a network from 3 channels to 4 numbers."""
    net = Network(np.random.default_rng(draw(st.integers(0, 2**16))))
    given = Value("x", (frozenset(),) * 3, SIZE)
    x = net.conv(given, draw(st.integers(2, 5)), 3)
    for step in draw(st.lists(st.sampled_from(STEPS), min_size=2, max_size=9)):
        x = _step(draw, net, x, step)
    if draw(st.booleans()):
        x = net.same(Value(x.name, x.sources, 1), "GlobalAveragePool")
    columns = x.size**2
    sources = tuple(source for source in x.sources for _ in range(columns))
    if draw(st.booleans()):
        flat = net.node("Flatten", [x.name])
    else:
        shape = [-1, len(sources)] if draw(st.booleans()) else [1, -1]
        flat = net.node("Reshape", [x.name, net.constant(np.array(shape, np.int64))])
    rows = Value(flat, sources, 0)
    if draw(st.booleans()):
        hidden = net.node("Gemm", [rows.name, net.normal(5, len(sources)), net.normal(5)], transB=1)
        name = net.nodes[-1].name
        net.reads[name] = rows
        rows = Value(hidden, tuple(frozenset({(name, channel)}) for channel in range(5)), 0)
    y = net.node("MatMul", [rows.name, net.normal(len(rows.sources), 4)])
    net.reads[net.nodes[-1].name] = rows
    return net.model(Value(y, (), 0)), net


def _step(draw: st.DrawFn, net: Network, x: Value, step: str) -> Value:
    channels = len(x.sources)
    match step:
        case "conv":
            return net.conv(x, draw(st.integers(1, 6)))
        case "conv3":
            return net.conv(x, draw(st.integers(1, 6)), 3)
        case "transposed":
            return net.conv(x, draw(st.integers(1, 6)), 3, "ConvTranspose")
        case "depthwise":
            return net.depthwise(x, 1) if channels > 1 else x
        case "depthwise2":
            return net.depthwise(x, 2) if 1 < channels < 7 else x
        case "batch_norm":
            return net.batch_norm(x)
        case "prelu":
            return net.same(x, "PRelu", net.normal(channels, 1, 1))
        case "scale":
            return net.same(x, "Mul", net.normal(1, channels, 1, 1))
        case "shift":
            return net.same(x, "Add", net.constant(np.array(0.5, np.float32)))
        case "residual":
            inner = net.same(net.conv(x, draw(st.integers(1, 5))), "Relu")
            return net.together(net.conv(inner, channels, 3), x, draw(st.sampled_from(["Add", "Max", "Sub"])))
        case "gate":
            return net.together(net.same(x, "Sigmoid"), x, "Mul")
        case "squeeze_excite":
            pooled = Value(net.node("ReduceMean", [x.name], axes=[2, 3], keepdims=1), x.sources, 1)
            inner = net.same(net.conv(pooled, draw(st.integers(1, 4))), "Relu")
            return net.together(net.same(net.conv(inner, channels), "HardSigmoid"), x, "Mul")
        case "concat":
            other = net.conv(x, draw(st.integers(1, 4)))
            pair = [other, x] if draw(st.booleans()) else [x, other]
            y = net.node("Concat", [each.name for each in pair], axis=1)
            return Value(y, pair[0].sources + pair[1].sources, x.size)
        case "max_pool":
            return net.same(x, "MaxPool", kernel_shape=[3, 3], pads=[1] * 4)
        case "resize":
            if x.size > SIZE:
                return x
            sizes = net.constant(np.array([1, channels, 2 * x.size, 2 * x.size], np.int64))
            y = net.node("Resize", [x.name, "", "", sizes], mode="nearest")
            return Value(y, x.sources, 2 * x.size)
        case "pad_and_slice":
            padded = net.same(x, "Pad", net.constant(np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64)))
            starts, ends, axes = (net.constant(np.array(each, np.int64)) for each in ([1], [99], [-1]))
            cut = net.same(padded, "Slice", starts, ends, axes)
            starts, ends, axes = (net.constant(np.array(each, np.int64)) for each in ([1], [99], [2]))
            return net.same(cut, "Slice", starts, ends, axes)
        case _:
            return net.same(x, step.capitalize())
