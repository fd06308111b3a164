"""Random ONNX models for comparing graph passes with ONNX Runtime.

A model is a chain of blocks, each a function from one value to the next: convolution layers, residual stages with
strides that can move, attention, and the forms in which exporters write activations and normalizations. Every draw
lists its simplest choice first, and weights come from one drawn seed, so hypothesis shrinks a failing network to a few
nodes. Weights are He-like and variances are in 0.5 .. 2: activations stay near 1 throughout the network, so a relative
error is meaningful at its end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

T = TypeVar("T")

# Each opset with the IR version of the onnx release that introduced it.
IR_VERSIONS = {17: 8, 11: 6, 13: 7, 18: 8, 20: 9}

KERNELS = {
    1: ((1,), (3,), (5,), (2,)),
    2: ((1, 1), (3, 3), (5, 5), (3, 1), (1, 3), (2, 2)),
    3: ((1, 1, 1), (3, 3, 3), (1, 3, 3), (3, 1, 1)),
}
STRIDES = {
    1: ((1,), (2,), (3,)),
    2: ((1, 1), (2, 2), (3, 3), (2, 1), (1, 2), (3, 2)),
    3: ((1, 1, 1), (2, 2, 2), (1, 2, 2), (3, 1, 2)),
}
PADDINGS = ("half", "none", "asymmetric", "wide", "SAME_UPPER", "SAME_LOWER", "VALID")
LARGEST_IMAGE = 17 * 17  # positions; enlarging operators respect this limit


@dataclass(frozen=True)
class Value:
    """A tensor of the model, and its batch axis, if any."""

    name: str
    shape: tuple[int, ...]
    batch_axis: int | None = 0

    @property
    def channels(self) -> int:
        return self.shape[1]

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[2:]


class Network:
    """A model under construction. It draws its choices, and tracks the shape of every value that it adds."""

    def __init__(self, draw: st.DrawFn, batch: int, dynamic: bool) -> None:
        self._draw = draw
        self.batch, self.dynamic = batch, dynamic
        self.opset = self.pick(*IR_VERSIONS)
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.storage = self.pick("initializer", "initializer", "node", "input", "mixed")
        self.scalar_shape: tuple[int, ...] = self.pick((), (1,))
        self._fresh = self.rarely()
        self.values: list[Value] = []
        self.weights: list[Value] = []
        self.outputs: list[Value] = []
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._weight_inputs: list[onnx.ValueInfoProto] = []

    # Choices

    def pick(self, *options: T) -> T:
        return self._draw(st.sampled_from(options))

    def flip(self) -> bool:
        return self._draw(st.booleans())

    def rarely(self) -> bool:
        return self.pick(False, False, False, False, False, False, False, True)

    def count(self, least: int, most: int) -> int:
        return self._draw(st.integers(least, most))

    # Nodes

    def node(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shape: Sequence[int],
        batch_axis: int | None = 0,
        **attributes: Any,
    ) -> Value:
        value = Value(f"{op.lower()}{len(self._nodes)}", tuple(shape), batch_axis)
        names = [i.name if i else "" for i in inputs]
        self._nodes.append(helper.make_node(op, names, [value.name], f"{op}_{len(self._nodes)}", **attributes))
        self.values.append(value)
        return value

    def same_shape(self, op: str, x: Value, *others: Value | None, **attributes: Any) -> Value:
        return self.node(op, [x, *others], x.shape, x.batch_axis, **attributes)

    def binary(self, op: str, a: Value, b: Value) -> Value:
        batch_axis = b.batch_axis if a.batch_axis is None else a.batch_axis
        return self.node(op, [a, b], np.broadcast_shapes(a.shape, b.shape), batch_axis)

    def with_axes(self, op: str, x: Value, axes: Sequence[int], shape: Sequence[int], **attributes: Any) -> Value:
        """``axes`` became an input in opset 13 for Squeeze and Unsqueeze, in 18 for the reductions."""
        if self.opset < (18 if op.startswith("Reduce") else 13):
            return self.node(op, [x], shape, axes=list(axes), **attributes)
        return self.node(op, [x, self.integers(axes)], shape, **attributes)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """Reshapes to ``(batch, *shape)``. The batch is copied (0), since it may be dynamic."""
        return self.node("Reshape", [x, self.integers([0, *shape])], (x.shape[0], *shape))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        batch_axis = None if x.batch_axis is None else list(perm).index(x.batch_axis)
        return self.node("Transpose", [x], [x.shape[p] for p in perm], batch_axis, perm=list(perm))

    # Inputs and constants

    def input(self, name: str, shape: Sequence[int]) -> Value:
        value = Value(name, tuple(shape))
        self._inputs.append(self._described(value))
        return value

    def constant(self, array: np.ndarray | Sequence[int] | float, storage: str | None = None) -> Value:
        """Adds a float32 constant, stored in the way that this network stores constants."""
        array = np.asarray(array, np.float32)
        storage = storage or self.storage
        if storage == "mixed":
            storage = str(self.rng.choice(["initializer", "node", "input"]))
        if storage == "node":
            return self._constant_node(array)
        return self._initializer(array, is_input=storage == "input")

    def integers(self, numbers: Sequence[int]) -> Value:
        array = np.array(numbers, np.int64)
        return self._constant_node(array) if self.storage == "node" else self._initializer(array, is_input=False)

    def scalar(self, number: float) -> Value:
        return self.constant(np.full(self.scalar_shape, number, np.float32))

    def weight(self, shape: Sequence[int], fan_in: int) -> Value:
        """Normal weights, with a gain between that of linear layers and that of ReLU (He)."""
        value = self.constant(self.rng.normal(0, math.sqrt(1.5 / fan_in), shape))
        self.weights.append(value)
        return value

    def shift(self, shape: Sequence[int]) -> Value:
        """Values around zero; all zero in a freshly initialized network."""
        return self.constant(np.zeros(shape) if self._fresh else self.rng.normal(0, 0.3, shape))

    def factor(self, shape: Sequence[int]) -> Value:
        """Values in 0.5 .. 1.5, one in eight negative; all one in a freshly initialized network."""
        if self._fresh:
            return self.constant(np.ones(shape))
        sign = np.where(self.rng.random(shape) < 0.125, -1, 1)
        return self.constant(self.rng.uniform(0.5, 1.5, shape) * sign)

    def _initializer(self, array: np.ndarray, is_input: bool) -> Value:
        value = Value(f"c{len(self._initializers)}", array.shape, batch_axis=None)
        self._initializers.append(numpy_helper.from_array(array, value.name))
        if is_input:
            self._weight_inputs.append(self._described(value))
        return value

    def _constant_node(self, array: np.ndarray) -> Value:
        if array.size > 1 and np.all(array == array.flat[0]) and array.dtype == np.float32:
            shape = self._initializer(np.array(array.shape, np.int64), is_input=False)
            filling = numpy_helper.from_array(array.flat[:1])
            value = self.node("ConstantOfShape", [shape], array.shape, batch_axis=None, value=filling)
        else:
            value = self.node("Constant", [], array.shape, batch_axis=None, value=numpy_helper.from_array(array))
        self.values.remove(value)
        return value

    # The end

    def output(self, value: Value) -> None:
        if value not in self.outputs:
            self.outputs.append(value)

    def model(self) -> onnx.ModelProto:
        outputs = [self._described(value) for value in self.outputs]
        inputs = [*self._inputs, *self._weight_inputs]
        graph = helper.make_graph(self._nodes, "zoo", inputs, outputs, self._initializers)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSIONS[self.opset])

    def _described(self, value: Value) -> onnx.ValueInfoProto:
        dimensions: list[int | str] = [*value.shape]
        if self.dynamic and value.batch_axis is not None:
            dimensions[value.batch_axis] = "N"
        return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, dimensions)


Block = Callable[[Network, Value], Value]


# Windows of convolution and pooling


@dataclass(frozen=True)
class Window:
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]  # all beginnings, then all ends
    auto_pad: str = "NOTSET"

    @property
    def extent(self) -> tuple[int, ...]:
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    def fits(self, spatial: Sequence[int]) -> bool:
        return all(size >= extent for size, extent in zip(self._padded(spatial), self.extent, strict=True))

    def output(self, spatial: Sequence[int]) -> tuple[int, ...]:
        if self.auto_pad.startswith("SAME"):
            return tuple(-(-size // s) for size, s in zip(spatial, self.strides, strict=True))
        steps = zip(self._padded(spatial), self.extent, self.strides, strict=True)
        return tuple((size - extent) // s + 1 for size, extent, s in steps)

    def attributes(self) -> dict[str, Any]:
        """ONNX's attributes, without those at their default."""
        given: dict[str, Any] = {"kernel_shape": self.kernel}
        if any(s != 1 for s in self.strides):
            given["strides"] = self.strides
        if any(d != 1 for d in self.dilations):
            given["dilations"] = self.dilations
        if self.auto_pad != "NOTSET":
            given["auto_pad"] = self.auto_pad
        elif any(self.pads):
            given["pads"] = self.pads
        return given

    def _padded(self, spatial: Sequence[int]) -> tuple[int, ...]:
        if self.auto_pad.startswith("SAME"):
            return tuple(max(size, extent) for size, extent in zip(spatial, self.extent, strict=True))
        rank = len(spatial)
        return tuple(size + self.pads[i] + self.pads[i + rank] for i, size in enumerate(spatial))


def centred(kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int] | None = None) -> Window:
    """Half the kernel as padding on both sides. It always fits, and keeps the size with stride 1 and odd kernels."""
    dilations = dilations or [1] * len(kernel)
    half = [((k - 1) * d + 1) // 2 for k, d in zip(kernel, dilations, strict=True)]
    return Window(tuple(kernel), tuple(strides), tuple(dilations), (*half, *half))


def window(net: Network, spatial: Sequence[int], kernel: Sequence[int] | None = None, pooling: bool = False) -> Window:
    """Any window that fits. A pooling pads less than its kernel, so no window lies entirely in the padding."""
    rank = len(spatial)
    kernel = kernel or net.pick(*KERNELS[rank])
    strides = net.pick(*STRIDES[rank])
    dilated = net.pick(False, False, False, True) and all(
        2 * k - 1 <= size for k, size in zip(kernel, spatial, strict=True)
    )
    plain = centred(kernel, strides, [2 if dilated and k > 1 else 1 for k in kernel])
    padding = net.pick(*PADDINGS)
    half, none = plain.pads[:rank], (0,) * rank
    skipping = any(s > k for s, k in zip(strides, kernel, strict=True))
    if padding in ("SAME_UPPER", "SAME_LOWER") and (dilated or (pooling and skipping)):
        return plain  # ONNX Runtime rejects the first and computes negative pads for the second
    pads = {
        "none": (*none, *none),
        "VALID": (*none, *none),
        "asymmetric": (*none, *half) if net.flip() else (*half, *none),
        "wide": plain.pads if pooling else tuple(p + 1 for p in plain.pads),
    }.get(padding, plain.pads)
    auto_pad = padding if padding.isupper() else "NOTSET"
    drawn = Window(plain.kernel, plain.strides, plain.dilations, pads, auto_pad)
    return drawn if drawn.fits(spatial) else plain


# Convolution layers


def channels(net: Network) -> int:
    return net.pick(4, 8, 3, 2, 1, 6)


def convolve(
    net: Network, x: Value, weight: Value, window: Window, groups: int = 1, bias: bool = False, op: str = "Conv"
) -> Value:
    shape = (x.shape[0], weight.shape[0], *window.output(x.spatial))
    attributes = window.attributes() | ({"group": groups} if groups != 1 else {})
    return net.node(op, [x, weight, *([net.shift(weight.shape[:1])] if bias else [])], shape, **attributes)


def conv(net: Network, x: Value, out: int, window: Window, groups: int = 1, bias: bool | None = None) -> Value:
    fan_in = x.channels // groups * math.prod(window.kernel)
    weight = net.weight((out, x.channels // groups, *window.kernel), fan_in)
    return convolve(net, x, weight, window, groups, net.flip() if bias is None else bias)


def pointwise(net: Network, x: Value, out: int, strides: Sequence[int] | None = None) -> Value:
    """A 1x1 convolution without padding, whose stride can move."""
    ones = (1,) * len(x.spatial)
    return conv(net, x, out, Window(ones, tuple(strides or ones), ones, (0,) * (2 * len(ones))))


def any_conv(net: Network, x: Value) -> Value:
    drawn = window(net, x.spatial)
    kind = net.pick("dense", "dense", "depthwise", "grouped")
    if kind == "depthwise":
        return conv(net, x, x.channels * net.pick(1, 2 if x.channels < 8 else 1), drawn, x.channels)
    if kind == "grouped":
        groups = next((g for g in (2, 3) if x.channels % g == 0), 1)
        return conv(net, x, groups * net.pick(1, 2, 3), drawn, groups)
    return conv(net, x, channels(net), drawn)


def conv_transpose(net: Network, x: Value) -> Value:
    rank = len(x.spatial)
    kernel = net.pick(*KERNELS[rank])
    strides = net.pick(*STRIDES[rank])
    if 9 * math.prod(x.spatial) > LARGEST_IMAGE:
        strides = (1,) * rank
    groups = net.pick(1, 2) if x.channels % 2 == 0 else 1
    out = groups * net.pick(2, 4, 1)
    extra = tuple(s - 1 if net.flip() else 0 for s in strides)
    begin = tuple((k - 1) // 2 for k in kernel)
    end = begin if net.flip() else (0,) * rank
    spatial = tuple(
        max((size - 1) * s + k - b - e + o, 0)
        for size, s, k, b, e, o in zip(x.spatial, strides, kernel, begin, end, extra, strict=True)
    )
    if 0 in spatial:
        return any_conv(net, x)
    fan_in = max(x.channels // groups * math.prod(kernel) // math.prod(strides), 1)
    weight = net.weight((x.channels, out // groups, *kernel), fan_in)
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "pads": (*begin, *end), "group": groups}
    if any(extra):
        attributes["output_padding"] = extra
    bias = [net.shift((out,))] if net.flip() else []
    y = net.node("ConvTranspose", [x, weight, *bias], (x.shape[0], out, *spatial), **attributes)
    return finish(net, y)


@dataclass(frozen=True)
class Normalization:
    """The inputs of a BatchNormalization; two may share them."""

    inputs: tuple[Value, Value, Value, Value]
    epsilon: float


def normalization(net: Network, size: int) -> Normalization:
    variance = net.constant(net.rng.uniform(0.5, 2, size))
    inputs = (net.factor((size,)), net.shift((size,)), net.shift((size,)), variance)
    return Normalization(inputs, net.pick(1e-5, 1e-3, 0.1))


def batch_norm(net: Network, x: Value, shared: Normalization | None = None) -> Value:
    norm = shared or normalization(net, x.channels)
    return net.same_shape("BatchNormalization", x, *norm.inputs, epsilon=norm.epsilon)


def affine_step(net: Network, x: Value) -> Value:
    """Mul, Add, Sub or Div with a constant on either side, of a shape that can or cannot be folded."""
    op = net.pick("Mul", "Add", "Sub", "Div")
    ones = (1,) * len(x.spatial)
    per_channel = ((x.channels, *ones), (1, x.channels, *ones))
    foreign = ((1, *x.shape[1:]), x.shape[2:], x.shape[-1:])
    shape = net.pick(*per_channel, (), (1,), *(foreign if net.rarely() else ()))
    constant = net.factor(shape) if op in ("Mul", "Div") else net.shift(shape)
    reversed_ = net.flip()
    if op == "Div" and reversed_:
        x = net.binary("Add", net.same_shape("Sigmoid", x), net.scalar(1))  # away from zero
    return net.binary(op, constant, x) if reversed_ else net.binary(op, x, constant)


def affine_chain(net: Network, x: Value) -> Value:
    for _ in range(net.count(1, 4)):
        x = affine_step(net, x)
    return x


def normalize(net: Network, x: Value) -> Value:
    """Nodes between a convolution and its activation; sometimes the convolution has other readers."""
    kind = net.pick("batch_norm", "batch_norm", "nothing", "affine", "both")
    if kind != "nothing" and net.rarely():
        net.output(x)
    if kind in ("batch_norm", "both"):
        x = batch_norm(net, x)
    if kind in ("affine", "both"):
        x = affine_chain(net, x)
    return x


def finish(net: Network, x: Value) -> Value:
    x = normalize(net, x)
    return activation(net, x) if net.flip() else x


def conv_layer(net: Network, x: Value) -> Value:
    if net.rarely():
        x = batch_norm(net, x)
    return finish(net, any_conv(net, x))


def separable(net: Network, x: Value) -> Value:
    """Depthwise and pointwise, as in MobileNet."""
    x = conv(net, x, x.channels, window(net, x.spatial, (3,) * len(x.spatial)), x.channels)
    x = finish(net, x)
    return finish(net, pointwise(net, x, channels(net)))


# Activations, in the forms of exporters


def relu(net: Network, x: Value) -> Value:
    return net.same_shape("Relu", x)


def clip(net: Network, x: Value) -> Value:
    least, most = net.pick((0, 6), (0, 1), (-1, 1.5), (0, None), (None, 1), (None, None))
    bounds = [None if bound is None else net.constant(bound) for bound in (least, most)]
    while bounds and bounds[-1] is None:
        bounds.pop()
    return net.same_shape("Clip", x, *bounds)


def sigmoid(net: Network, x: Value) -> Value:
    return net.same_shape("Sigmoid", x)


def tanh(net: Network, x: Value) -> Value:
    return net.same_shape("Tanh", x)


def silu(net: Network, x: Value) -> Value:
    return either_order(net, "Mul", x, sigmoid(net, x))


def hard_sigmoid(net: Network, x: Value) -> Value:
    alpha, beta = net.pick((1 / 6, 0.5), (0.2, 0.5), (0.3, 0.4))
    return net.same_shape("HardSigmoid", x, alpha=alpha, beta=beta)


def hard_swish_operator(net: Network, x: Value) -> Value:
    return net.same_shape("HardSwish", x) if net.opset >= 14 else hard_swish(net, x)


def hard_swish(net: Network, x: Value) -> Value:
    """x min(max(x + 3, 0), 6) / 6 in one of its forms."""
    form = net.pick("divide last", "divide gate", "multiply", "hard sigmoid")
    if form == "hard sigmoid":
        return either_order(net, "Mul", x, hard_sigmoid(net, x))
    gate = either_order(net, "Add", x, net.scalar(3))
    gate = net.same_shape("Clip", gate, net.constant(0), net.constant(6))
    if form == "divide gate":
        return either_order(net, "Mul", x, net.binary("Div", gate, net.scalar(6)))
    product = either_order(net, "Mul", x, gate)
    if form == "multiply":
        return either_order(net, "Mul", product, net.scalar(1 / 6))
    return net.binary("Div", product, net.scalar(6))


def gelu_erf(net: Network, x: Value) -> Value:
    """x (1 + erf(x / sqrt 2)) / 2, in the order of PyTorch, of TensorFlow, or with x / 2 first."""
    if net.flip():
        inner = either_order(net, "Mul", x, net.scalar(math.sqrt(0.5)))
    else:
        inner = net.binary("Div", x, net.scalar(math.sqrt(2)))
    gate = either_order(net, "Add", net.same_shape("Erf", inner), net.scalar(1))
    order = net.pick("half last", "half gate", "half first")
    if order == "half last":
        return either_order(net, "Mul", either_order(net, "Mul", x, gate), net.scalar(0.5))
    if order == "half gate":
        return either_order(net, "Mul", x, either_order(net, "Mul", gate, net.scalar(0.5)))
    return either_order(net, "Mul", either_order(net, "Mul", x, net.scalar(0.5)), gate)


def gelu_tanh(net: Network, x: Value) -> Value:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, the cube as a power or as products."""
    cube = net.binary("Mul", net.binary("Mul", x, x), x) if net.flip() else net.binary("Pow", x, net.scalar(3))
    inner = either_order(net, "Add", x, either_order(net, "Mul", cube, net.scalar(0.044715)))
    inner = either_order(net, "Mul", inner, net.scalar(math.sqrt(2 / math.pi)))
    gate = either_order(net, "Add", tanh(net, inner), net.scalar(1))
    if net.flip():
        return either_order(net, "Mul", either_order(net, "Mul", x, net.scalar(0.5)), gate)
    return either_order(net, "Mul", either_order(net, "Mul", x, gate), net.scalar(0.5))


def gelu_operator(net: Network, x: Value) -> Value:
    if net.opset < 20:
        return gelu_erf(net, x)
    return net.same_shape("Gelu", x, approximate=net.pick("none", "tanh"))


def leaky_relu(net: Network, x: Value) -> Value:
    return net.same_shape("LeakyRelu", x, alpha=net.pick(0.01, 0.3))


def prelu(net: Network, x: Value) -> Value:
    shape = net.pick((x.channels, *[1] * len(x.spatial)), (1,))
    return net.same_shape("PRelu", x, net.constant(net.rng.uniform(0, 0.5, shape)))


ACTIVATIONS: tuple[Block, ...] = (
    relu,
    clip,
    sigmoid,
    tanh,
    silu,
    hard_swish,
    hard_swish_operator,
    hard_sigmoid,
    gelu_erf,
    gelu_tanh,
    gelu_operator,
    leaky_relu,
    prelu,
)


def activation(net: Network, x: Value) -> Value:
    return net.pick(relu, relu, *ACTIVATIONS)(net, x)


def either_order(net: Network, op: str, a: Value, b: Value) -> Value:
    return net.binary(op, b, a) if net.flip() else net.binary(op, a, b)


# Residual networks, whose strides can move


def full_stride(net: Network, x: Value) -> tuple[int, ...]:
    rank = len(x.spatial)
    return net.pick((2,) * rank, (2,) * rank, *STRIDES[rank])


def pooled(net: Network, x: Value, strides: Sequence[int]) -> Value:
    """A shortcut that only selects positions: 1x1 pooling (ResNet v2) or a slice with steps."""
    spatial = tuple(-(-size // s) for size, s in zip(x.spatial, strides, strict=True))
    shape = (*x.shape[:2], *spatial)
    if net.flip():
        return sliced(net, x, [0] * len(strides), strides)
    return net.node("MaxPool", [x], shape, kernel_shape=[1] * len(strides), strides=list(strides))


def shortcut(net: Network, x: Value, out: int, strides: Sequence[int]) -> Value:
    unstrided = all(s == 1 for s in strides)
    if x.channels == out and (unstrided or net.rarely()):
        return x if unstrided else pooled(net, x, strides)
    return normalize(net, pointwise(net, x, out, strides))


def join(net: Network, a: Value, b: Value) -> Value:
    y = either_order(net, "Add", a, b)
    if net.rarely():
        y = batch_norm(net, y)
    return relu(net, y) if net.pick(True, True, False) else activation(net, y)


def basic_block(net: Network, x: Value, strides: Sequence[int] | None = None) -> Value:
    ones, threes = (1,) * len(x.spatial), (3,) * len(x.spatial)
    strides = strides or ones
    out = x.channels if strides == ones else channels(net)
    y = relu(net, normalize(net, conv(net, x, channels(net), centred(threes, strides))))
    y = normalize(net, conv(net, y, out, centred(threes, ones)))
    return join(net, y, shortcut(net, x, out, strides))


def bottleneck(net: Network, x: Value, strides: Sequence[int] | None = None) -> Value:
    """ResNet v1 has its stride in the first 1x1 convolution, v1.5 in the 3x3."""
    ones, threes = (1,) * len(x.spatial), (3,) * len(x.spatial)
    strides = strides or ones
    out = x.channels if strides == ones else channels(net)
    first, second = (ones, strides) if net.rarely() else (strides, ones)
    y = relu(net, normalize(net, pointwise(net, x, net.pick(2, 4), first)))
    y = relu(net, normalize(net, conv(net, y, net.pick(2, 4), centred(threes, second))))
    y = normalize(net, pointwise(net, y, out))
    return join(net, y, shortcut(net, x, out, strides))


def stage(net: Network, x: Value) -> Value:
    """Identity blocks, then a strided block whose stride can move into the last identity block."""
    block = net.pick(bottleneck, basic_block)
    for _ in range(net.count(0, 2)):
        x = block(net, x)
        if net.rarely():
            net.output(x)
    return bottleneck(net, x, full_stride(net, x))


def branches(net: Network, x: Value) -> Value:
    """Several strided readers of one tensor. Those with equal strides are added, the others are outputs."""
    x = join(net, x, pointwise(net, x, x.channels)) if net.flip() else activation(net, x)
    out, strides = channels(net), full_stride(net, x)
    y = pointwise(net, x, out, strides)
    for _ in range(net.count(1, 2)):
        own = strides if net.flip() else net.pick(*STRIDES[len(x.spatial)])
        other = normalize(net, pointwise(net, x, out, own))
        if other.shape == y.shape:
            y = either_order(net, "Add", y, other)
        else:
            net.output(other)
    return y


def elementwise_then_stride(net: Network, x: Value) -> Value:
    """Operators that a stride must cross: elementwise operators and broadcasts, then a strided 1x1."""
    x = conv_layer(net, x)
    step = net.pick(activation, affine_chain, batch_norm, squeeze_excite, broadcast_add, no_op)
    x = step(net, x)
    return finish(net, pointwise(net, x, channels(net), full_stride(net, x)))


def second_input(net: Network, x: Value) -> Value:
    """A residual that is an input of the model."""
    return join(net, x, net.input(f"residual_{len(net.values)}", x.shape))


def doubled(net: Network, x: Value) -> Value:
    return net.binary("Add", x, x)


def broadcast_add(net: Network, x: Value) -> Value:
    """A product of (N, C, 1, 1) and (N, C, H, W)."""
    return either_order(net, "Add", x, global_pool(net, x))


def shared_weights(net: Network, x: Value) -> Value:
    """One weight in two convolutions, in sequence or in parallel, with equal or different normalizations."""
    kernel = net.pick(*KERNELS[len(x.spatial)])
    drawn = centred([k if k % 2 else 3 for k in kernel], (1,) * len(x.spatial))
    weight = net.weight((x.channels, x.channels, *drawn.kernel), x.channels * math.prod(drawn.kernel))
    norm = normalization(net, x.channels)
    first = convolve(net, x, weight, drawn, bias=net.flip())
    first = activation(net, batch_norm(net, first, norm))
    second = convolve(net, first if net.flip() else relu(net, x), weight, drawn, bias=net.flip())
    kind = net.pick("equal", "another", "none")
    if kind != "none":
        second = batch_norm(net, second, norm if kind == "equal" else None)
    return join(net, first, second)


def dead_branch(net: Network, x: Value) -> Value:
    conv_layer(net, x)
    return conv_layer(net, x)


# Pooling, gates and data movement


def global_pool(net: Network, x: Value, keep: bool = True) -> Value:
    rank = len(x.spatial)
    shape = (*x.shape[:2], *((1,) * rank if keep else ()))
    if net.flip() or not keep:
        axes = range(2, rank + 2) if net.flip() else range(-rank, 0)
        return net.with_axes("ReduceMean", x, [*axes], shape, keepdims=int(keep))
    return net.node("GlobalAveragePool", [x], shape)


def pool(net: Network, x: Value) -> Value:
    op = net.pick("MaxPool", "AveragePool")
    kernels = tuple(k for k in KERNELS[len(x.spatial)] if max(k) > 1)
    drawn = window(net, x.spatial, net.pick(*kernels), pooling=True)
    attributes = drawn.attributes()
    if op == "AveragePool":
        if net.opset < 19:
            attributes.pop("dilations", None)
            drawn = Window(drawn.kernel, drawn.strides, (1,) * len(x.spatial), drawn.pads, drawn.auto_pad)
        if net.flip():
            attributes["count_include_pad"] = 1
    spatial = drawn.output(x.spatial)
    if net.pick(False, False, True) and drawn.auto_pad == "NOTSET" and ceiled(drawn, x.spatial):
        spatial, attributes["ceil_mode"] = ceiled(drawn, x.spatial), 1
    return net.node(op, [x], (*x.shape[:2], *spatial), **attributes)


def ceiled(window: Window, spatial: Sequence[int]) -> tuple[int, ...]:
    """Sizes with ceil_mode; None if a window would begin after the image, which ONNX versions count differently."""
    rank, sizes = len(spatial), []
    for i, size in enumerate(spatial):
        begin, end, stride = window.pads[i], window.pads[i + rank], window.strides[i]
        count = -(-(size + begin + end - window.extent[i]) // stride) + 1
        if (count - 1) * stride >= size + begin:
            return ()
        sizes.append(count)
    return tuple(sizes)


def squeeze_excite(net: Network, x: Value) -> Value:
    y = global_pool(net, x)
    y = relu(net, pointwise(net, y, net.pick(2, 1)))
    y = pointwise(net, y, x.channels)
    return either_order(net, "Mul", x, net.pick(sigmoid, hard_sigmoid)(net, y))


def concat(net: Network, x: Value) -> Value:
    ones = (1,) * len(x.spatial)
    parts = [x] if net.flip() else []
    while len(parts) < 2:
        parts.append(finish(net, conv(net, x, net.pick(2, 4), centred(net.pick((1,), (3,)) * len(ones), ones))))
    if net.flip():
        parts.reverse()
    shape = (x.shape[0], sum(p.channels for p in parts), *x.spatial)
    y = net.node("Concat", parts, shape, axis=net.pick(1, 1 - len(shape)))
    return batch_norm(net, y) if net.flip() else y


def pad(net: Network, x: Value) -> Value:
    mode = net.pick("constant", "edge", "reflect")
    most = min(min(x.spatial) - 1, 2) if mode == "reflect" else 2
    if math.prod(x.spatial) > LARGEST_IMAGE // 2:
        most = 0
    pads = [net.count(0, most) for _ in range(2 * len(x.spatial))]
    rank = len(x.spatial)
    begin, end = pads[:rank], pads[rank:]
    inputs = [x, net.integers([0, 0, *begin, 0, 0, *end])]
    if mode == "constant" and net.flip():
        inputs.append(net.constant(net.pick(0, 1.5)))
    spatial = [size + b + e for size, b, e in zip(x.spatial, begin, end, strict=True)]
    y = net.node("Pad", inputs, (*x.shape[:2], *spatial), mode=mode)
    return finish(net, any_conv(net, y)) if net.flip() else y


def resize(net: Network, x: Value) -> Value:
    rank = len(x.spatial)
    if 2**rank * math.prod(x.spatial) > LARGEST_IMAGE:
        return no_op(net, x)
    attributes: dict[str, Any] = net.pick(
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"},
    )
    scales = net.constant([1, 1, *[2] * rank], storage="initializer")
    region = net.constant(np.zeros(0), storage="initializer") if net.opset < 13 else None
    shape = (*x.shape[:2], *(2 * size for size in x.spatial))
    return net.node("Resize", [x, region, scales], shape, mode="nearest", **attributes)


def sliced(net: Network, x: Value, starts: Sequence[int], steps: Sequence[int]) -> Value:
    axes = range(2, len(x.shape))
    spatial = [-(-(size - b) // s) for size, b, s in zip(x.spatial, starts, steps, strict=True)]
    numbers = (starts, [2**63 - 1] * len(starts), axes, steps)
    return net.node("Slice", [x, *(net.integers([*n]) for n in numbers)], (*x.shape[:2], *spatial))


def slice_(net: Network, x: Value) -> Value:
    starts = [net.pick(0, 1) if size > 1 else 0 for size in x.spatial]
    y = sliced(net, x, starts, net.pick(*STRIDES[len(x.spatial)]))
    return finish(net, pointwise(net, y, channels(net))) if net.flip() else y


def transposes(net: Network, x: Value) -> Value:
    """Two transposes that cancel, with or without elementwise operators between them, or one of the last two axes."""
    axes = range(len(x.shape))
    to_last = (0, *axes[2:], 1)
    perm = net.pick(to_last, (*axes[:-2], axes[-1], axes[-2]), tuple(reversed(axes)))
    y = net.transpose(x, perm)
    between = net.pick("nothing", "relu", "bias")
    if between == "relu":
        y = relu(net, y)
    elif between == "bias" and perm == to_last:
        y = net.binary("Add", y, net.shift((x.channels,)))
    if len(x.spatial) > 1 and perm[:2] == (0, 1) and net.rarely():
        return y
    return net.transpose(y, [perm.index(axis) for axis in axes])


def no_op(net: Network, x: Value) -> Value:
    kind = net.pick("Identity", "Dropout", "reshapes", "reshape", "neutral")
    if kind == "neutral":
        op = net.pick("Mul", "Add", "Sub", "Div")
        return net.binary(op, x, net.scalar(1 if op in ("Mul", "Div") else 0))
    if kind == "reshapes":
        return net.reshape(net.reshape(x, (x.channels, math.prod(x.spatial))), x.shape[1:])
    if kind == "reshape":
        return net.reshape(x, x.shape[1:])
    return net.same_shape(kind, x)


def transposed_layer_norm(net: Network, x: Value) -> Value:
    """Layer normalization over channels, as in ConvNeXt."""
    if x.channels < 4:
        return batch_norm(net, x)
    axes = range(len(x.shape))
    y = layer_norm(net, net.transpose(x, (0, *axes[2:], 1)))
    return net.transpose(y, (0, axes[-1], *axes[1:-1]))


SIMPLE_BLOCKS: tuple[Block, ...] = (conv_layer, activation, batch_norm, affine_chain, no_op, pool)
BLOCKS: tuple[Block, ...] = (
    *SIMPLE_BLOCKS,
    stage,
    conv_layer,
    branches,
    elementwise_then_stride,
    stage,
    basic_block,
    shared_weights,
    separable,
    squeeze_excite,
    concat,
    pool,
    conv_transpose,
    second_input,
    doubled,
    broadcast_add,
    pad,
    resize,
    slice_,
    transposes,
    transposed_layer_norm,
    dead_branch,
)


# Dense layers and attention


def layer_norm(net: Network, x: Value) -> Value:
    """Layer normalization over the last axis, in primitive operators as exported, or as one operator."""
    size = x.shape[-1]
    if net.opset >= 17 and net.pick(False, False, False, True):
        return net.same_shape("LayerNormalization", x, net.factor((size,)), net.shift((size,)), axis=-1, epsilon=1e-3)
    shape = (*x.shape[:-1], 1)
    mean = net.with_axes("ReduceMean", x, [-1], shape, keepdims=1)
    offset = net.binary("Sub", x, mean)
    square = net.binary("Mul", offset, offset) if net.flip() else net.binary("Pow", offset, net.scalar(2))
    variance = net.with_axes("ReduceMean", square, [-1], shape, keepdims=1)
    deviation = net.same_shape("Sqrt", net.binary("Add", variance, net.scalar(net.pick(1e-3, 0.1))))
    y = net.binary("Div", offset, deviation)
    if net.flip():
        y = either_order(net, "Mul", y, net.factor((size,)))
        y = either_order(net, "Add", y, net.shift((size,)))
    return y


def linear(net: Network, x: Value, out: int) -> Value:
    """MatMul of the last axis, with or without an Add; the weight may be transposed as PyTorch stores it."""
    size = x.shape[-1]
    weight = net.transpose(net.weight((out, size), size), (1, 0)) if net.rarely() else net.weight((size, out), size)
    y = net.node("MatMul", [x, weight], (*x.shape[:-1], out))
    return either_order(net, "Add", y, net.shift(net.pick((out,), (1, out)))) if net.pick(True, False) else y


def gemm(net: Network, x: Value, out: int) -> Value:
    size, rows = x.shape[-1], x.shape[0]
    attributes: dict[str, Any] = {}
    if net.flip():
        attributes["transB"] = 1
    weight = net.weight((out, size) if "transB" in attributes else (size, out), size)
    alpha, beta = net.pick((1.0, 1.0), (0.5, 1.0), (1.0, 2.0), (1.5, 0.5))
    attributes |= {name: v for name, v in (("alpha", alpha), ("beta", beta)) if v != 1}
    per_row = () if net.dynamic else ((rows, 1), (rows, out))
    shape = net.pick((out,), None, (1, out), (), (1,), *per_row)
    if net.pick(False, False, False, True):
        x = net.transpose(x, (1, 0))
        attributes["transA"] = 1
    return net.node("Gemm", [x, weight, *([] if shape is None else [net.shift(shape)])], (rows, out), **attributes)


def dense_layer(net: Network, x: Value) -> Value:
    y = net.pick(gemm, gemm, linear)(net, x, channels(net))
    return finish(net, y)


def token_layer(net: Network, x: Value) -> Value:
    y = linear(net, x, x.shape[-1])
    y = net.pick(relu, gelu_erf, gelu_tanh, gelu_operator, silu, tanh)(net, y)
    return either_order(net, "Add", x, y) if net.flip() else y


def feed_forward(net: Network, x: Value) -> Value:
    y = linear(net, layer_norm(net, x), 8)
    y = net.pick(gelu_erf, gelu_tanh, gelu_operator)(net, y)
    return either_order(net, "Add", x, linear(net, y, x.shape[-1]))


def heads_first(net: Network, x: Value, heads: int, perm: Sequence[int] = (0, 2, 1, 3)) -> Value:
    tokens, size = x.shape[1:]
    return net.transpose(net.reshape(x, (tokens, heads, size // heads)), perm)


def query_key_value(net: Network, x: Value) -> list[Value]:
    size = x.shape[-1]
    if not net.rarely():
        return [linear(net, x, size) for _ in range(3)]
    joined = linear(net, x, 3 * size)
    parts = []
    for i in range(3):
        numbers = ([i * size], [(i + 1) * size], [2])
        parts.append(net.node("Slice", [joined, *(net.integers(n) for n in numbers)], x.shape))
    return parts


def scores(net: Network, q: Value, k: Value, heads: int) -> Value:
    """q k^T / sqrt(size of a head), with the scale in one of the places that exporters use."""
    size = q.shape[-1] // heads
    root = math.sqrt(size)
    q = heads_first(net, q, heads)
    if net.flip():
        k = heads_first(net, k, heads, (0, 2, 3, 1))
    else:
        k = net.transpose(heads_first(net, k, heads), (0, 1, 3, 2))
    place = net.pick("divide", "multiply", "both", "query", "none")
    if place == "both":
        q, k = (either_order(net, "Mul", v, net.scalar(1 / math.sqrt(root))) for v in (q, k))
    elif place == "query":
        q = net.binary("Mul", q, net.scalar(1 / root))
    s = net.node("MatMul", [q, k], (*q.shape[:-1], k.shape[-1]))
    if place == "divide":
        return net.binary("Div", s, net.scalar(root))
    return either_order(net, "Mul", s, net.scalar(1 / root)) if place == "multiply" else s


def masked(net: Network, s: Value) -> Value:
    tokens = s.shape[-1]
    kind = net.pick("none", "causal", "any", "input")
    if kind == "none":
        return s
    if kind == "input":
        mask = net.input(f"mask_{len(net.values)}", (s.shape[0], 1, 1, tokens))
    elif kind == "causal":
        mask = net.constant(np.triu(np.full((1, 1, tokens, tokens), -30.0), 1))
    else:
        mask = net.shift(net.pick((tokens, tokens), (1, 1, 1, tokens)))
    return either_order(net, "Add", s, mask)


def attention(net: Network, x: Value) -> Value:
    heads = net.pick(1, 2) if x.shape[-1] % 2 == 0 else 1
    q, k, v = query_key_value(net, layer_norm(net, x) if net.flip() else x)
    p = masked(net, scores(net, q, k, heads))
    p = net.same_shape("Softmax", p, axis=-1)
    v = heads_first(net, v, heads)
    y = net.transpose(net.node("MatMul", [p, v], (*p.shape[:-1], v.shape[-1])), (0, 2, 1, 3))
    y = linear(net, net.reshape(y, x.shape[1:]), x.shape[-1])
    return either_order(net, "Add", x, y) if net.flip() else y


DENSE_BLOCKS: tuple[Block, ...] = (dense_layer, dense_layer, activation, batch_norm, affine_chain)
TOKEN_BLOCKS: tuple[Block, ...] = (token_layer, layer_norm, attention, attention, feed_forward)


# Complete networks


def chain(net: Network, x: Value, blocks: Sequence[Block], most: int) -> Value:
    for _ in range(net.count(1, most)):
        x = net.pick(*blocks)(net, x)
    return x


def flattened(net: Network, x: Value) -> Value:
    kind = net.pick("flatten", "pool", "squeeze", "reshape")
    size = math.prod(x.shape[1:])
    if kind == "flatten" and size <= 64:
        return net.node("Flatten", [x], (x.shape[0], size))
    if kind == "pool":
        return global_pool(net, x, keep=False)
    y = global_pool(net, x)
    if kind == "squeeze":
        return net.with_axes("Squeeze", y, range(2, len(x.shape)), x.shape[:2])
    return net.reshape(y, (x.channels,))


def tokens_of(net: Network, x: Value) -> Value:
    """(N, C, H, W) to (N, HW, C), as in vision transformers."""
    y = pointwise(net, x, 4)
    while math.prod(y.spatial) > 16:
        y = pointwise(net, y, 4, (3,) * len(y.spatial))
    return net.transpose(net.reshape(y, (4, math.prod(y.spatial))), (0, 2, 1))


def classifier(net: Network, x: Value) -> Value:
    y = chain(net, flattened(net, x), DENSE_BLOCKS, 2)
    return net.same_shape("Softmax", y, axis=-1) if net.rarely() else y


def image_network(net: Network, spatial: Sequence[int]) -> Value:
    x = net.input("x", (net.batch, channels(net), *spatial))
    x = chain(net, x, BLOCKS, 4 if len(spatial) == 2 else 3)
    head = net.pick("none", "none", "classifier", "tokens")
    if head == "classifier":
        return classifier(net, x)
    if head == "tokens":
        return chain(net, tokens_of(net, x), TOKEN_BLOCKS, 2)
    return x


def token_network(net: Network) -> Value:
    x = net.input("x", (net.batch, net.count(1, 5), net.pick(4, 8, 6)))
    return chain(net, x, TOKEN_BLOCKS, 3)


def dense_network(net: Network) -> Value:
    return chain(net, net.input("x", (net.batch, channels(net))), DENSE_BLOCKS, 4)


def extra_outputs(net: Network) -> None:
    for _ in range(net.pick(0, 0, 0, 1, 2)):
        net.output(net.pick(*net.values))
    if net.weights and net.rarely():
        net.output(net.pick(*net.weights))


@st.composite
def image_sizes(draw: st.DrawFn, rank: int) -> tuple[int, ...]:
    most = {1: 17, 2: 17, 3: 5}[rank]
    return tuple(draw(st.integers(1, most)) for _ in range(rank))


KINDS = (*["image"] * 5, "line", "volume", "tokens", "dense", "dense")


@st.composite
def networks(draw: st.DrawFn, kinds: Sequence[str] = KINDS, dynamic: bool | None = None) -> onnx.ModelProto:
    """Models that pass ``onnx.checker.check_model(full_check=True)`` and run in ONNX Runtime.

    Their float32 inputs begin with the batch; with ``dynamic`` (drawn where None) it is the dimension ``"N"``.
    """
    kind = draw(st.sampled_from(kinds))
    if dynamic is None:
        dynamic = draw(st.sampled_from([False, False, False, True]))
    net = Network(draw, batch=draw(st.sampled_from([1, 2])), dynamic=dynamic)
    if kind == "tokens":
        y = token_network(net)
    elif kind == "dense":
        y = dense_network(net)
    else:
        y = image_network(net, draw(image_sizes({"line": 1, "image": 2, "volume": 3}[kind])))
    net.output(y)
    extra_outputs(net)
    return net.model()
