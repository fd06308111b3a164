"""Drawn calls of operators that graph_passes defines, by operator: inputs, attributes, which outputs are used."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

Draw = Callable[[Any], Any]
MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Drawn:
    """A call of an operator.

    Attributes:
        inputs: arrays; None for an absent input.
        constants: places of inputs that are initializers of the model.
        outputs: number of outputs.
        unused: places of outputs that the model does not name.
        steps: whether outputs are integers that may differ by one, as roundings of halves do.
        scale: the size of what the outputs are computed from, if it is larger than the outputs.
    """

    op_type: str
    inputs: Sequence[np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    constants: Sequence[int] = ()
    outputs: int = 1
    unused: Sequence[int] = ()
    domain: str = MICROSOFT
    steps: bool = False
    scale: float = 1.0


def _rng(draw: Draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**31)))


def _normal(rng: np.random.Generator, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng.standard_normal(shape).astype(dtype)


def _sizes(draw: Draw, rank: int, most: int = 6) -> tuple[int, ...]:
    return tuple(draw(st.integers(1, most)) for _ in range(rank))


def _maybe(draw: Draw, value: Any) -> Any:
    return value if draw(st.booleans()) else None


def _trimmed(*inputs: np.ndarray | None) -> list[np.ndarray | None]:
    """Returns the inputs without absent ones at the end."""
    found = list(inputs)
    while found and found[-1] is None:
        found.pop()
    return found


def _pointwise(op_type: str, *names: str, domain: str = MICROSOFT) -> Draw:
    def draw_call(draw: Draw) -> Drawn:
        rng = _rng(draw)
        x = 3 * _normal(rng, *_sizes(draw, draw(st.integers(1, 4))))
        given = {name: draw(st.floats(0.25, 2, width=32)) for name in names if draw(st.booleans())}
        if domain == "":  # without defaults
            given = {name: draw(st.floats(0.25, 2, width=32)) for name in names}
        return Drawn(op_type, [x], given, domain=domain, scale=10)

    return draw_call


def _bias_gelu(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, draw(st.integers(1, 3)))
    return Drawn("BiasGelu", [_normal(rng, *shape), _normal(rng, shape[-1])])


def _fast_gelu(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, draw(st.integers(1, 3)))
    return Drawn("FastGelu", _trimmed(_normal(rng, *shape), _maybe(draw, _normal(rng, shape[-1]))))


def _fused_matmul(draw: Draw) -> Drawn:
    rng = _rng(draw)
    rank = draw(st.integers(2, 4))
    batch = _sizes(draw, rank - 2, 3)
    m, k, n = _sizes(draw, 3)
    dtype = draw(st.sampled_from(["float32", "float64"]))
    attributes: dict[str, Any] = {}
    operands = []
    for name, sizes in (("A", [m, k]), ("B", [k, n])):
        shape = list(sizes)
        if draw(st.booleans()):
            attributes[f"trans{name}"] = 1
            shape.reverse()
        full = [*batch, *shape]
        if rank > 2 and draw(st.booleans()):
            attributes[f"transBatch{name}"] = 1
            full = [shape[0], *batch, shape[1]]
        operands.append(_normal(rng, *full, dtype=dtype))
    if draw(st.booleans()):
        attributes["alpha"] = draw(st.floats(-2, 2, width=32))
    return Drawn("FusedMatMul", operands, attributes, scale=10)


def _fused_gemm(draw: Draw) -> Drawn:
    rng = _rng(draw)
    m, k, n = _sizes(draw, 3)
    attributes: dict[str, Any] = {}
    shapes = []
    for name, sizes in (("A", (m, k)), ("B", (k, n))):
        flip = draw(st.booleans())
        attributes[f"trans{name}"] = int(flip)
        shapes.append(sizes[::-1] if flip else sizes)
    c = draw(st.sampled_from([None, (n,), (m, n), (1, n), (m, 1), ()]))
    inputs = [*(_normal(rng, *shape) for shape in shapes), *([] if c is None else [_normal(rng, *c)])]
    activation = draw(st.sampled_from(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid"]))
    attributes |= {"activation": activation, "alpha": draw(st.floats(-2, 2, width=32))}
    attributes |= {"beta": draw(st.floats(-2, 2, width=32))}
    if activation in ("LeakyRelu", "HardSigmoid"):
        attributes["activation_alpha"] = draw(st.floats(0.125, 1, width=32))
    if activation == "HardSigmoid":
        attributes["activation_beta"] = draw(st.floats(0.125, 1, width=32))
    return Drawn("FusedGemm", inputs, attributes, scale=10)


def _fused_conv(draw: Draw) -> Drawn:
    rng = _rng(draw)
    group = draw(st.sampled_from([1, 2]))
    n, c, m = draw(st.integers(1, 2)), group * draw(st.integers(1, 3)), group * draw(st.integers(1, 3))
    h, w = draw(st.integers(3, 7)), draw(st.integers(3, 7))
    x, weight = _normal(rng, n, c, h, w), _normal(rng, m, c // group, 3, 3)
    activation = draw(st.sampled_from(["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"]))
    parameters = {"LeakyRelu": [0.25], "Clip": [-0.5, 0.75], "HardSigmoid": [0.25, 0.5]}.get(activation)
    attributes: dict[str, Any] = {"group": group, "pads": [1, 1, 1, 1], "kernel_shape": [3, 3]}
    attributes |= {"activation": activation} | ({"activation_params": parameters} if parameters else {})
    bias = _maybe(draw, _normal(rng, m))
    residual = _maybe(draw, _normal(rng, n, m, h, w))
    return Drawn("FusedConv", _trimmed(x, weight, bias, residual), attributes, scale=20)


def _cdist(draw: Draw) -> Drawn:
    rng = _rng(draw)
    m, n, d = _sizes(draw, 3)
    metric = draw(st.sampled_from(["euclidean", "sqeuclidean"]))
    return Drawn("CDist", [_normal(rng, m, d), 3 + _normal(rng, n, d)], {"metric": metric}, scale=300)


def _layer_norm(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, draw(st.integers(2, 4)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    rest = shape[axis % len(shape) :]
    inputs = _trimmed(_normal(rng, *shape), _normal(rng, *rest), _maybe(draw, _normal(rng, *rest)))
    attributes = {"axis": axis, "epsilon": 0.015625}
    return Drawn("LayerNormalization", inputs, attributes, outputs=draw(st.integers(1, 3)), domain="", scale=10)


def _simplified(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, draw(st.integers(2, 4)))
    axis = draw(st.sampled_from([-1, len(shape) - 1]))
    inputs = [_normal(rng, *shape), _normal(rng, shape[-1])]
    return Drawn("SimplifiedLayerNormalization", inputs, {"axis": axis, "epsilon": 0.015625}, domain="", scale=10)


def _skip(op_type: str) -> Draw:
    def draw_call(draw: Draw) -> Drawn:
        rng = _rng(draw)
        batch, length, size = _sizes(draw, 3)
        x = _normal(rng, batch, length, size)
        skip = _normal(rng, *draw(st.sampled_from([(batch, length, size), (1, length, size), (length, size)])))
        beta = [_maybe(draw, _normal(rng, size))] if op_type == "SkipLayerNormalization" else []
        inputs = _trimmed(x, skip, _normal(rng, size), *beta, _maybe(draw, _normal(rng, size)))
        outputs = draw(st.sampled_from([1, 4]))
        return Drawn(op_type, inputs, {"epsilon": 0.015625}, outputs=outputs, unused=(1, 2)[: outputs - 1], scale=10)

    return draw_call


def _embed(draw: Draw) -> Drawn:
    rng = _rng(draw)
    batch, length, size = _sizes(draw, 3)
    words, places, kinds = 7, length + 2, 3
    ids = rng.integers(0, words, (batch, length), np.int32)
    has_segments = draw(st.booleans())
    segments = rng.integers(0, kinds, (batch, length), np.int32) if has_segments else None
    mask = _maybe(draw, rng.integers(0, 2, (batch, length), np.int32))
    positions = _maybe(draw, rng.integers(0, places, (batch, length), np.int32))
    tables = [
        _normal(rng, words, size),
        _normal(rng, places, size),
        _normal(rng, kinds, size) if has_segments else None,
    ]
    inputs = _trimmed(ids, segments, *tables, _normal(rng, size), _normal(rng, size), mask, positions)
    outputs = draw(st.integers(2, 3))
    return Drawn("EmbedLayerNormalization", inputs, {"epsilon": 0.015625}, outputs=outputs, scale=10)


def _mask(draw: Draw, rng: np.random.Generator, batch: int, queries: int, keys: int) -> np.ndarray | None:
    """Returns a mask in one of its forms. Each query keeps its first key, which no causal mask hides."""
    form = draw(st.sampled_from(["none", "keys", "queries", "ends"]))
    if form == "none":
        return None
    if form == "ends":
        return rng.integers(1, keys + 1, (batch,), np.int32)
    shape = (batch, keys) if form == "keys" else (batch, queries, keys)
    mask = rng.integers(0, 2, shape, np.int32)
    mask[..., 0] = 1
    return mask


def _attention(draw: Draw) -> Drawn:
    rng = _rng(draw)
    heads, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    batch, length, hidden = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    attributes: dict[str, Any] = {"num_heads": heads}
    past_length = draw(st.integers(0, 3))
    sizes = [heads * size] * 3
    if not past_length and draw(st.booleans()):
        sizes[2] = heads * draw(st.integers(1, 4))
        attributes["qkv_hidden_sizes"] = sizes
    keys = past_length + length
    mask = _mask(draw, rng, batch, length, keys)
    past = _normal(rng, 2, batch, heads, past_length, size) if past_length else None
    bias = _normal(rng, draw(st.sampled_from([1, batch])), draw(st.sampled_from([1, heads])), length, keys)
    attributes |= {"unidirectional": draw(st.integers(0, 1))}
    attributes |= {"scale": 0.375} if draw(st.booleans()) else {}
    inputs = [_normal(rng, batch, length, hidden), _normal(rng, hidden, sum(sizes)), _normal(rng, sum(sizes))]
    inputs = _trimmed(*inputs, mask, past, None if past_length else _maybe(draw, bias))
    outputs = 2 if past is not None else 1
    constants = draw(st.sampled_from([(), (1, 2)]))
    return Drawn("Attention", inputs, attributes, constants, outputs=outputs, scale=10)


def _multi_head(draw: Draw) -> Drawn:
    rng = _rng(draw)
    heads, size, of_values = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    batch, queries, length = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    split = draw(st.booleans())  # keys and values by heads
    past_length = 0 if split else draw(st.integers(0, 2))
    if past_length or split:
        of_values = size
    keys = length + past_length
    q = _normal(rng, batch, queries, heads * size)
    if split:
        k, v = _normal(rng, batch, heads, length, size), _normal(rng, batch, heads, length, of_values)
    else:
        k, v = _normal(rng, batch, length, heads * size), _normal(rng, batch, length, heads * of_values)
    bias = None if split else _maybe(draw, _normal(rng, heads * (2 * size + of_values)))
    mask = _mask(draw, rng, batch, queries, keys)
    added = _maybe(draw, _normal(rng, draw(st.sampled_from([1, batch])), heads, queries, keys))
    past = [_normal(rng, batch, heads, past_length, size) for _ in range(2)] if past_length else [None, None]
    attributes: dict[str, Any] = {"num_heads": heads, "unidirectional": 0}
    if queries == length:
        attributes["unidirectional"] = draw(st.integers(0, 1))
    attributes |= {"scale": 0.375} if draw(st.booleans()) else {}
    outputs = 3 if past_length else 1
    inputs = _trimmed(q, k, v, bias, mask, added, *past)
    return Drawn("MultiHeadAttention", inputs, attributes, outputs=outputs, scale=10)


def _rotary(draw: Draw) -> Drawn:
    rng = _rng(draw)
    batch, heads, length = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    size = draw(st.sampled_from([2, 4, 6, 8]))
    rotated = draw(st.integers(1, size // 2)) * 2
    partial = rotated < size
    x = _normal(rng, batch, length, heads * size) if draw(st.booleans()) else _normal(rng, batch, heads, length, size)
    offset = draw(st.booleans())
    positions = np.array([2], np.int64) if offset else rng.integers(0, length + 2, (batch, length)).astype(np.int64)
    angles = rng.random((length + 4, rotated // 2)) * 7
    attributes: dict[str, Any] = {"interleaved": draw(st.integers(0, 1))}
    attributes |= {"rotary_embedding_dim": rotated, "num_heads": heads} if partial else {}
    inputs = [x, positions, np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)]
    return Drawn("RotaryEmbedding", inputs, attributes, scale=4)


INTEGERS = ("uint8", "int8")


def _integers(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max + 1, shape).astype(dtype)


def _weights(rng: np.random.Generator, dtype: str, *shape: int) -> np.ndarray:
    """Returns weights of few bits: without VNNI, ONNX Runtime saturates sums of two products at 16 bits."""
    return rng.integers(-32, 32, shape).astype(dtype) if dtype == "int8" else _integers(rng, dtype, *shape)


def _quantization(draw: Draw, rng: np.random.Generator, dtype: str) -> list[np.ndarray | None]:
    """Returns a scale and a zero point. ONNX Runtime infers the type of the output from the latter."""
    scale = np.float32(draw(st.sampled_from([0.0078125, 0.03125, 0.0125])))
    return [np.asarray(scale), _integers(rng, dtype)]


def _qlinear_binary(op_type: str) -> Draw:
    def draw_call(draw: Draw) -> Drawn:
        rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
        shape = _sizes(draw, draw(st.integers(1, 3)))
        other = tuple(draw(st.sampled_from([1, size])) for size in shape)
        a, b = _integers(rng, dtype, *shape), _integers(rng, dtype, *other)
        quantizations = [value for _ in range(2) for value in _quantization(draw, rng, dtype)]
        inputs = [a, *quantizations[:2], b, *quantizations[2:], *_quantization(draw, rng, dtype)]
        return Drawn(op_type, _trimmed(*inputs), steps=True, constants=(1, 2, 4, 5, 6, 7))

    return draw_call


def _qlinear_unary(op_type: str) -> Draw:
    def draw_call(draw: Draw) -> Drawn:
        rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
        attributes = {"alpha": 0.25} if op_type == "QLinearLeakyRelu" else {}
        inputs = [_integers(rng, dtype, *_sizes(draw, 2)), *_quantization(draw, rng, dtype)]
        inputs += _quantization(draw, rng, dtype)
        return Drawn(op_type, _trimmed(*inputs), attributes, steps=True, constants=(1, 2, 3, 4))

    return draw_call


def _qlinear_pool(op_type: str) -> Draw:
    def draw_call(draw: Draw) -> Drawn:
        rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
        n, c, h, w = draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(3, 7)), draw(st.integers(3, 7))
        last = draw(st.integers(0, 1))
        x = _integers(rng, dtype, *((n, h, w, c) if last else (n, c, h, w)))
        attributes: dict[str, Any] = {"channels_last": last}
        if op_type == "QLinearAveragePool":
            attributes |= {"kernel_shape": [2, 3], "strides": [1, 2], "pads": draw(st.sampled_from([[0] * 4, [1] * 4]))}
            attributes |= {"count_include_pad": draw(st.integers(0, 1))}
        quantizations = [*_quantization(draw, rng, dtype), *_quantization(draw, rng, dtype)]
        return Drawn(op_type, [x, *quantizations], attributes, steps=True, constants=(1, 2, 3, 4))

    return draw_call


def _qlinear_concat(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    shape = list(_sizes(draw, 3))
    axis = draw(st.integers(0, 2))
    inputs: list[Any] = [np.asarray(np.float32(0.03125)), _integers(rng, dtype)]
    for _ in range(draw(st.integers(1, 3))):
        part = [*shape]
        part[axis] = draw(st.integers(1, 3))
        inputs += [_integers(rng, dtype, *part), np.asarray(np.float32(0.0125)), _integers(rng, dtype)]
    constants = [place for place in range(len(inputs)) if place < 2 or place % 3 != 2]
    return Drawn("QLinearConcat", inputs, {"axis": axis}, constants, steps=True)


def _qlinear_softmax(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    shape = _sizes(draw, draw(st.integers(2, 3)))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    attributes = {"axis": axis, "opset": draw(st.sampled_from([11, 13]))}
    zero = np.asarray(0, np.uint8) if dtype == "uint8" else np.asarray(-128, np.int8)
    inputs = [_integers(rng, dtype, *shape), np.asarray(np.float32(0.03125)), _integers(rng, dtype)]
    inputs += [np.asarray(np.float32(1 / 256)), zero]
    return Drawn("QLinearSoftmax", inputs, attributes, (1, 2, 3, 4), steps=True)


def _qlinear_where(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    shape = _sizes(draw, 2)
    inputs: list[Any] = [rng.random(shape) < 0.5]
    for _ in range(2):
        inputs += [_integers(rng, dtype, *shape), np.asarray(np.float32(0.0125)), _integers(rng, dtype)]
    inputs += [np.asarray(np.float32(0.03125)), _integers(rng, dtype)]
    return Drawn("QLinearWhere", inputs, {}, (2, 3, 5, 6, 7, 8), steps=True)


def _quantize_linear(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from([*INTEGERS, "int16", "uint16"]))
    shape = _sizes(draw, draw(st.integers(1, 3)))
    axis = draw(st.sampled_from([None, *range(len(shape))]))
    sizes = () if axis is None else (shape[axis],)
    scale = (rng.random(sizes) + 0.5).astype(np.float32) / 16
    x = 4 * _normal(rng, *shape)
    inputs = [x, np.asarray(scale), _integers(rng, dtype, *sizes)]
    return Drawn("QuantizeLinear", inputs, {} if axis is None else {"axis": axis}, steps=True)


def _dequantize_linear(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from([*INTEGERS, "int16", "uint16", "int32"]))
    shape = _sizes(draw, draw(st.integers(1, 3)))
    axis = draw(st.sampled_from([None, *range(len(shape))]))
    sizes = () if axis is None else (shape[axis],)
    scale = (rng.random(sizes) + 0.5).astype(np.float32) / 16
    x = rng.integers(-99, 99, shape).astype(np.int32) if dtype == "int32" else _integers(rng, dtype, *shape)
    zero = None if dtype == "int32" else _maybe(draw, _integers(rng, dtype, *sizes))
    inputs = _trimmed(x, np.asarray(scale), zero)
    return Drawn("DequantizeLinear", inputs, {} if axis is None else {"axis": axis}, scale=4000)


def _weight_quantization(draw: Draw, rng: np.random.Generator, dtype: str, channels: int) -> list[np.ndarray]:
    """Returns a scale and a zero point of weights, each one number or one per channel; int8 has zero points of 0."""
    sizes = draw(st.sampled_from([(), (channels,)]))
    scale = ((rng.random(sizes) + 0.5) / 64).astype(np.float32)
    zero = np.full(sizes, 0 if dtype == "int8" else rng.integers(0, 256), dtype)
    return [np.asarray(scale), np.asarray(zero)]


def _qlinear_conv(draw: Draw) -> Drawn:
    rng, x_type = _rng(draw), draw(st.sampled_from(INTEGERS))
    dtype = "int8" if x_type == "int8" else draw(st.sampled_from(INTEGERS))
    group = draw(st.sampled_from([1, 2]))
    c, m = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 3))
    x = _integers(rng, x_type, draw(st.integers(1, 2)), c, draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    w = _weights(rng, dtype, m, c // group, 3, 2)
    bias = _maybe(draw, rng.integers(-5000, 5000, (m,)).astype(np.int32))
    y_scale = np.asarray(np.float32(draw(st.sampled_from([0.5, 2.0, 7.0]))))
    inputs = [x, np.asarray(np.float32(0.0125)), _integers(rng, x_type), w]
    inputs += [*_weight_quantization(draw, rng, dtype, m), y_scale, _integers(rng, x_type), bias]
    attributes = {"group": group, "pads": [1, 0, 1, 1], "strides": [1, draw(st.integers(1, 2))]}
    constants = draw(st.sampled_from([(1, 2, 3, 4, 5, 6, 7, 8), (4, 5, 6, 7)]))
    return Drawn("QLinearConv", _trimmed(*inputs), attributes, constants, domain="", steps=True)


def _qlinear_matmul(draw: Draw) -> Drawn:
    rng, x_type = _rng(draw), draw(st.sampled_from(INTEGERS))
    dtype = "int8" if x_type == "int8" else draw(st.sampled_from(INTEGERS))
    m, k, n = _sizes(draw, 3)
    w = _weights(rng, dtype, k, n)
    y_scale = np.asarray(np.float32(draw(st.sampled_from([0.5, 2.0]))))
    inputs = [_integers(rng, x_type, *_sizes(draw, draw(st.integers(0, 2)), 3), m, k)]
    inputs += [np.asarray(np.float32(0.0125)), _integers(rng, x_type), w]
    inputs += [*_weight_quantization(draw, rng, dtype, n), y_scale, _integers(rng, x_type)]
    constants = draw(st.sampled_from([(1, 2, 3, 4, 5, 6, 7), (4, 5, 6, 7)]))
    return Drawn("QLinearMatMul", inputs, {}, constants, domain="", steps=True)


def _dynamic_matmul(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    m, k, n = _sizes(draw, 3)
    sizes = draw(st.sampled_from([(), (n,)]))
    scale = ((rng.random(sizes) + 0.5) / 64).astype(np.float32)
    batch = _sizes(draw, draw(st.integers(0, 2)), 3)
    b_zero = _maybe(draw, _integers(rng, dtype, *sizes))
    inputs = [_normal(rng, *batch, m, k), _weights(rng, dtype, k, n), np.asarray(scale), b_zero]
    inputs = _trimmed(*inputs, _maybe(draw, _normal(rng, n)))
    return Drawn("DynamicQuantizeMatMul", inputs, {}, (1, 2, 3, 4), scale=100)


def _integer_to_float(draw: Draw) -> Drawn:
    rng, a_type = _rng(draw), draw(st.sampled_from(INTEGERS))
    dtype = "int8" if a_type == "int8" else draw(st.sampled_from(INTEGERS))
    m, k, n = _sizes(draw, 3)
    sizes = draw(st.sampled_from([(), (n,)]))
    scale = ((rng.random(sizes) + 0.5) / 64).astype(np.float32)
    inputs = [_integers(rng, a_type, m, k), _weights(rng, dtype, k, n), np.asarray(np.float32(0.0125))]
    zeros = [_maybe(draw, _integers(rng, a_type)), _maybe(draw, _integers(rng, dtype, *sizes))]
    inputs = _trimmed(*inputs, np.asarray(scale), *zeros, _maybe(draw, _normal(rng, n)))
    return Drawn("MatMulIntegerToFloat", inputs, {}, (1, 3, 5, 6), scale=100)


def _q_gemm(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    m, k, n = _sizes(draw, 3)
    flip_a, flip_b = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    inputs: list[Any] = [_integers(rng, dtype, *((k, m) if flip_a else (m, k))), np.asarray(np.float32(0.0125))]
    inputs += [_integers(rng, dtype), _integers(rng, dtype, *((n, k) if flip_b else (k, n)))]
    inputs += [np.asarray(np.float32(0.03125)), _integers(rng, dtype)]
    inputs.append(_maybe(draw, rng.integers(-999, 999, (n,)).astype(np.int32)))
    whole = draw(st.booleans())
    inputs += [np.asarray(np.float32(0.25)), _integers(rng, dtype)] if whole else []
    attributes = {"transA": flip_a, "transB": flip_b, "alpha": 1.0}
    return Drawn("QGemm", _trimmed(*inputs), attributes, (1, 2, 4, 5), steps=whole, scale=100)


def _q_attention(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    heads, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    batch, length, hidden = draw(st.integers(1, 2)), draw(st.integers(1, 4)), heads * size
    scale = np.asarray(np.float32(0.0078125))
    mask = draw(st.sampled_from(["none", "keys"]))
    kept = None
    if mask == "keys":
        kept = rng.integers(0, 2, (batch, length), np.int32)
        kept[..., 0] = 1
    inputs = [_integers(rng, "uint8", batch, length, hidden), _weights(rng, dtype, hidden, 3 * hidden)]
    inputs += [_normal(rng, 3 * hidden), scale, scale]
    zeros = [_integers(rng, "uint8"), _maybe(draw, _integers(rng, dtype))]
    attributes = {"num_heads": heads, "unidirectional": draw(st.integers(0, 1))}
    return Drawn("QAttention", _trimmed(*inputs, kept, *zeros), attributes, (1, 2, 3, 4, 6, 7), scale=10)


def _nhwc_max_pool(draw: Draw) -> Drawn:
    rng, dtype = _rng(draw), draw(st.sampled_from(INTEGERS))
    x = _integers(rng, dtype, *_sizes(draw, 1, 2), draw(st.integers(3, 7)), draw(st.integers(3, 7)), 3)
    attributes = {"kernel_shape": [3, 2], "strides": draw(st.sampled_from([[1, 1], [2, 1]])), "pads": [1, 0, 1, 1]}
    return Drawn("NhwcMaxPool", [x], attributes)


def _matmul_nbits(draw: Draw) -> Drawn:
    rng, bits = _rng(draw), draw(st.sampled_from([4, 8]))
    block = draw(st.sampled_from([16, 32]))
    blocks, n = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    k = blocks * block - draw(st.sampled_from([0, 2]))
    b = _integers(rng, "uint8", n, blocks, block * bits // 8)
    scales = ((rng.random((n, blocks)) + 0.5) / 16).astype(np.float32)
    zeros = draw(st.sampled_from([None, "bytes", "numbers"])) if bits == 4 else draw(st.sampled_from([None, "bytes"]))
    zero = None
    if zeros == "bytes":
        zero = _integers(rng, "uint8", n, math.ceil(blocks * bits / 8))
    if zeros == "numbers":
        zero = rng.integers(0, 16, (n, blocks)).astype(np.float32)
    a = _normal(rng, *_sizes(draw, draw(st.integers(1, 2)), 3), k)
    inputs = _trimmed(a, b, scales, zero, None, _maybe(draw, _normal(rng, n)))
    attributes = {"K": k, "N": n, "bits": bits, "block_size": block}
    constants = draw(st.sampled_from([(), (1, 2, 3, 5), (1, 2)]))
    return Drawn("MatMulNBits", inputs, attributes, constants, scale=100)


def _gather_block_quantized(draw: Draw) -> Drawn:
    rng, bits = _rng(draw), draw(st.sampled_from([4, 8]))
    rows, block = draw(st.integers(1, 5)), draw(st.sampled_from([16, 32]))
    blocks = draw(st.integers(1, 3))
    columns = blocks * block - draw(st.sampled_from([0, 4]))
    table = _integers(rng, "uint8", rows, columns * bits // 8)
    scales = ((rng.random((rows, blocks)) + 0.5) / 16).astype(np.float32)
    zeros = _maybe(draw, _integers(rng, "uint8", rows, math.ceil(blocks * bits / 8)))
    indices = rng.integers(-rows, rows, _sizes(draw, draw(st.integers(0, 2)), 3))
    indices = np.asarray(indices).astype(draw(st.sampled_from(["int32", "int64"])))
    attributes = {"bits": bits, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    inputs = _trimmed(table, indices, scales, zeros)
    return Drawn("GatherBlockQuantized", inputs, attributes, draw(st.sampled_from([(), (0, 2, 3)])), scale=100)


def _expand_dims(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, draw(st.integers(1, 3)))
    axis = draw(st.integers(-len(shape) - 1, len(shape)))
    return Drawn("ExpandDims", [_normal(rng, *shape), np.asarray(axis, np.int32)], {}, (1,))


def _pad(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = tuple(size + 1 for size in _sizes(draw, draw(st.integers(1, 3))))
    mode = draw(st.sampled_from(["constant", "reflect", "edge"]))
    pads = np.array([draw(st.integers(0, 1)) for _ in range(2 * len(shape))], np.int64)
    value = _maybe(draw, np.array([1.5], np.float32)) if mode == "constant" else None
    return Drawn("Pad", _trimmed(_normal(rng, *shape), pads, value), {"mode": mode}, (1,))


def _range(draw: Draw) -> Drawn:
    dtype = draw(st.sampled_from(["int32", "int64", "float32"]))
    start, limit = draw(st.integers(-5, 5)), draw(st.integers(6, 12))
    inputs = [np.asarray(start, dtype), np.asarray(limit, dtype), _maybe(draw, np.asarray(2, dtype))]
    return Drawn("Range", _trimmed(*inputs), {}, (0, 1, 2))


def _trilu(draw: Draw) -> Drawn:
    rng = _rng(draw)
    dtype = draw(st.sampled_from(["float32", "int64"]))
    x = (9 * _normal(rng, *_sizes(draw, draw(st.integers(2, 3))))).astype(dtype)
    k = _maybe(draw, np.asarray(draw(st.integers(-4, 4)), np.int64))
    return Drawn("Trilu", _trimmed(x, k), {"upper": draw(st.integers(0, 1))}, (1,))


def _gather_nd(draw: Draw) -> Drawn:
    rng = _rng(draw)
    shape = _sizes(draw, 3)
    depth = draw(st.integers(1, 3))
    rows = draw(st.integers(1, 4))
    indices = np.stack([rng.integers(0, size, rows) for size in shape[:depth]], -1)
    return Drawn("GatherND", [_normal(rng, *shape), indices.astype(draw(st.sampled_from(["int32", "int64"])))])


def _crop(draw: Draw) -> Drawn:
    rng = _rng(draw)
    x = _normal(rng, 1, 2, draw(st.integers(5, 7)), draw(st.integers(5, 7)))
    attributes = {"border": [draw(st.integers(0, 2)) for _ in range(4)]}
    attributes |= {"scale": [draw(st.integers(1, 3)) for _ in range(2)]} if draw(st.booleans()) else {}
    return Drawn("Crop", [x], attributes, domain="")


def _image_scaler(draw: Draw) -> Drawn:
    rng = _rng(draw)
    n, c, h, w = _sizes(draw, 4, 3)
    attributes = {"bias": [draw(st.floats(-2, 2, width=32)) for _ in range(c)], "scale": 0.375}
    return Drawn("ImageScaler", [_normal(rng, n, c, h, w)], attributes, domain="", scale=4)


def _einsum(draw: Draw) -> Drawn:
    """Each letter is in both operands, or in one of them and in the output."""
    rng = _rng(draw)
    kinds = [draw(st.sampled_from(["batch", "left", "right", "summed"])) for _ in range(draw(st.integers(1, 5)))]
    letters = {letter: (kind, draw(st.integers(1, 4))) for letter, kind in zip("abcde", kinds, strict=False)}
    terms = [
        "".join(draw(st.permutations([letter for letter, (kind, _) in letters.items() if kind in wanted])))
        for wanted in (("batch", "left", "summed"), ("batch", "right", "summed"), ("batch", "left", "right"))
    ]
    operands = [_normal(rng, *(letters[letter][1] for letter in term)) for term in terms[:2]]
    return Drawn("Einsum", operands, {"equation": f"{terms[0]},{terms[1]}->{terms[2]}"}, domain="", scale=4)


# By operator; what ONNX Runtime computes on CPUs.
DRAWN: Mapping[str, Draw] = {
    "Affine": _pointwise("Affine", "alpha", "beta", domain=""),
    "Attention": _attention,
    "BiasGelu": _bias_gelu,
    "CDist": _cdist,
    "Crop": _crop,
    "DequantizeLinear": _dequantize_linear,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "Einsum": _einsum,
    "EmbedLayerNormalization": _embed,
    "ExpandDims": _expand_dims,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "GatherBlockQuantized": _gather_block_quantized,
    "GatherND": _gather_nd,
    "Gelu": _pointwise("Gelu"),
    "ImageScaler": _image_scaler,
    "LayerNormalization": _layer_norm,
    "MatMulIntegerToFloat": _integer_to_float,
    "MatMulNBits": _matmul_nbits,
    "MultiHeadAttention": _multi_head,
    "NhwcMaxPool": _nhwc_max_pool,
    "Pad": _pad,
    "ParametricSoftplus": _pointwise("ParametricSoftplus", "alpha", "beta", domain=""),
    "QAttention": _q_attention,
    "QGemm": _q_gemm,
    "QLinearAdd": _qlinear_binary("QLinearAdd"),
    "QLinearAveragePool": _qlinear_pool("QLinearAveragePool"),
    "QLinearConcat": _qlinear_concat,
    "QLinearConv": _qlinear_conv,
    "QLinearMatMul": _qlinear_matmul,
    "QLinearGlobalAveragePool": _qlinear_pool("QLinearGlobalAveragePool"),
    "QLinearLeakyRelu": _qlinear_unary("QLinearLeakyRelu"),
    "QLinearMul": _qlinear_binary("QLinearMul"),
    "QLinearSigmoid": _qlinear_unary("QLinearSigmoid"),
    "QLinearSoftmax": _qlinear_softmax,
    "QLinearWhere": _qlinear_where,
    "QuantizeLinear": _quantize_linear,
    "QuickGelu": _pointwise("QuickGelu", "alpha"),
    "Range": _range,
    "RotaryEmbedding": _rotary,
    "ScaledTanh": _pointwise("ScaledTanh", "alpha", "beta", domain=""),
    "SimplifiedLayerNormalization": _simplified,
    "SkipLayerNormalization": _skip("SkipLayerNormalization"),
    "SkipSimplifiedLayerNormalization": _skip("SkipSimplifiedLayerNormalization"),
    "Trilu": _trilu,
}
