"""References in float64 for operators that onnx's reference implementation computes wrongly or in part only.

Written from the text of the standard. Each takes the node's attributes, the operator's version and the inputs (None
where absent), and returns the outputs, or None where it does not apply. An answer counts only if another oracle gives
the same.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Arrays = Sequence[np.ndarray | None]
Reference = Callable[[Mapping[str, Any], int, Arrays, int], "list[np.ndarray] | None"]


def run(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray], version: int) -> list[np.ndarray] | None:
    """Returns the outputs of a model of one node, floating-point ones in float64; None without a reference here."""
    (node,) = model.graph.node
    reference = REFERENCES.get(node.op_type)
    if reference is None:
        return None
    values = {c.name: numpy_helper.to_array(c) for c in model.graph.initializer} | dict(inputs)
    arrays = [_wide(values[name]) if name else None for name in node.input]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    with np.errstate(all="ignore"):
        found = reference(attributes, version, arrays, len(node.output))
    if found is None:
        return None
    named = {name: found[index] for index, name in enumerate(node.output) if name}
    return [named[output.name] for output in model.graph.output]


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def _softmax(attributes: Mapping[str, Any], version: int, inputs: Arrays, _: int, name: str) -> list[np.ndarray] | None:
    """Softmax, LogSoftmax and Hardmax over one axis, or before version 13 over all axes from ``axis``."""
    x = inputs[0]
    assert x is not None
    axis = attributes.get("axis", -1 if version >= 13 else 1) % max(x.ndim, 1)
    if not x.size:
        return None
    flat = np.moveaxis(x, axis, -1) if version >= 13 else x.reshape(math.prod(x.shape[:axis]), -1)
    if name == "Hardmax":
        if np.isnan(flat).any():
            return None
        y = np.zeros(flat.shape)
        np.put_along_axis(y, flat.argmax(-1)[..., None], 1.0, -1)
    else:
        shifted = flat - flat.max(-1, keepdims=True)
        total = np.exp(shifted).sum(-1, keepdims=True)
        y = np.exp(shifted) / total if name == "Softmax" else shifted - np.log(total)
    return [np.moveaxis(y, -1, axis) if version >= 13 else y.reshape(x.shape)]


def _lrn(attributes: Mapping[str, Any], _version: int, inputs: Arrays, _: int) -> list[np.ndarray]:
    x = inputs[0]
    assert x is not None
    size, channels = attributes["size"], x.shape[1]
    sums = np.zeros_like(x)
    for c in range(channels):
        low, high = max(0, c - (size - 1) // 2), min(channels - 1, c + math.ceil((size - 1) / 2))
        sums[:, c] = (x[:, low : high + 1] ** 2).sum(1)
    alpha, beta, bias = (attributes.get(n, v) for n, v in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    return [x / (bias + alpha / size * sums) ** beta]


def _one_hot(attributes: Mapping[str, Any], version: int, inputs: Arrays, _: int) -> list[np.ndarray]:
    indices, depth, values = inputs
    assert indices is not None
    assert depth is not None
    assert values is not None
    count = int(depth.reshape(-1)[0])
    axis = attributes.get("axis", -1)
    whole = np.trunc(indices).astype(np.float64)
    if version >= 11:
        whole = np.where((whole < 0) & (whole >= -count), whole + count, whole)
    hot = np.arange(count) == np.expand_dims(whole, -1)
    answer = np.where(hot, values[1], values[0]).astype(values.dtype)
    return [np.moveaxis(answer, -1, axis if axis >= 0 else answer.ndim + axis)]


def _batch_normalization(
    attributes: Mapping[str, Any], version: int, inputs: Arrays, count: int
) -> list[np.ndarray] | None:
    x, scale, bias, mean, var = (value for value in inputs if value is not None)
    if version < 14 and count > 1:
        return None
    shape = [1, -1, *[1] * (x.ndim - 2)]
    results = []
    if attributes.get("training_mode", 0):
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        now, spread = x.mean(axes), x.var(axes)
        momentum = attributes.get("momentum", 0.9)
        results = [mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)]
        mean, var = now, spread
    root = np.sqrt(var + attributes.get("epsilon", 1e-5))
    y = (x - mean.reshape(shape)) / root.reshape(shape) * scale.reshape(shape) + bias.reshape(shape)
    return [y, *results][:count]


# Pooling


def _same_pads(size: int, stride: int, span: int, upper: bool) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + span - size, 0)
    return (total // 2, total - total // 2) if upper else (total - total // 2, total // 2)


def _pool(
    attributes: Mapping[str, Any], _version: int, inputs: Arrays, count: int, name: str
) -> list[np.ndarray] | None:
    x = inputs[0]
    assert x is not None
    spatial = x.shape[2:]
    rank = len(spatial)
    kernel = attributes["kernel_shape"]
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    flat = attributes.get("pads", [0] * 2 * rank)
    pads = list(zip(flat[:rank], flat[rank:], strict=True))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if auto.startswith("SAME"):
        pads = [
            _same_pads(size, s, span, auto == "SAME_UPPER")
            for size, s, span in zip(spatial, strides, spans, strict=True)
        ]
    elif auto == "VALID":
        pads = [(0, 0)] * rank
    sizes = []
    for size, s, span, (before, after) in zip(spatial, strides, spans, pads, strict=True):
        free = size + before + after - span
        if free < 0:
            return None
        steps = -(-free // s) if attributes.get("ceil_mode", 0) else free // s
        if attributes.get("ceil_mode", 0) and steps * s >= size + before:
            steps -= 1  # a window must not begin in the padding behind
        sizes.append(steps + 1)
    y = np.zeros([*x.shape[:2], *sizes])
    indices = np.zeros(y.shape, np.int64)
    if x.dtype.kind != "f":
        y = y.astype(x.dtype)
    if count > 1 and attributes.get("storage_order", 0):
        return None
    for place in itertools.product(*map(range, sizes)):
        taps = []
        padded = 1
        for axis, p in enumerate(place):
            start = p * strides[axis] - pads[axis][0]
            all_taps = [start + t * dilations[axis] for t in range(kernel[axis])]
            inside = spatial[axis] + pads[axis][1]  # ceil_mode may read behind the padding
            padded *= sum(t < inside for t in all_taps)
            taps.append([t for t in all_taps if 0 <= t < spatial[axis]])
        grid = np.ix_(range(x.shape[0]), range(x.shape[1]), *taps)
        window = x[grid].reshape(*x.shape[:2], -1)
        where = (slice(None), slice(None), *place)
        if not window.shape[-1]:
            return None
        if name == "MaxPool":
            if window.dtype.kind == "f" and np.isnan(window).any() and count > 1:
                return None
            y[where] = window.max(-1)
            flat_places = np.ravel_multi_index(np.ix_(*taps), spatial).reshape(-1)
            first = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[:2]) * math.prod(spatial)
            indices[where] = first + flat_places[window.argmax(-1)]
        elif name == "AveragePool":
            divisor = padded if attributes.get("count_include_pad", 0) else window.shape[-1]
            y[where] = window.sum(-1) / divisor
        else:
            p = attributes.get("p", 2)
            y[where] = (np.abs(window) ** p).sum(-1) ** (1 / p)
    return [y, indices][:count]


def _global_pool(attributes: Mapping[str, Any], _version: int, inputs: Arrays, _: int, name: str) -> list[np.ndarray]:
    x = inputs[0]
    assert x is not None
    axes = tuple(range(2, x.ndim))
    p = attributes.get("p", 2)
    if name == "GlobalMaxPool":
        return [x.max(axes, keepdims=True)]
    return [(np.abs(x) ** p).sum(axes, keepdims=True) ** (1 / p)]


# Recurrent layers


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


_ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Sigmoid": _sigmoid,
    "Relu": lambda x: np.maximum(x, 0),
    "Softsign": lambda x: x / (1 + np.abs(x)),
}
_DEFAULTS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def _recurrent(attributes: Mapping[str, Any], _version: int, inputs: Arrays, count: int, name: str) -> list[np.ndarray]:
    given = [*inputs, *[None] * (8 - len(inputs))]
    x, w, r, b, lengths, h0, c0, peepholes = given[:8]
    assert x is not None
    assert w is not None
    assert r is not None
    layout = attributes.get("layout", 0)
    if layout:
        x = x.swapaxes(0, 1)
        h0, c0 = (s if s is None else s.swapaxes(0, 1) for s in (h0, c0))
    steps, batch, _ = x.shape
    directions, hidden = w.shape[0], attributes["hidden_size"]
    names = [n.decode() for n in attributes.get("activations", [])] or _DEFAULTS[name] * directions
    per = len(_DEFAULTS[name])
    direction = attributes.get("direction", b"forward").decode()
    sequence = np.zeros([steps, directions, batch, hidden])
    last_h, last_c = np.zeros([directions, batch, hidden]), np.zeros([directions, batch, hidden])
    for d in range(directions):
        functions = [_ACTIVATIONS[n] for n in names[d * per : d * per + per]]
        backward = d == 1 or direction == "reverse"
        for item in range(batch):
            length = steps if lengths is None else int(lengths[item])
            h = np.zeros(hidden) if h0 is None else h0[d, item]
            c = np.zeros(hidden) if c0 is None else c0[d, item]
            bias = np.zeros(2 * w.shape[1]) if b is None else b[d]
            for t in range(length - 1, -1, -1) if backward else range(length):
                h, c = _step(name, attributes, functions, x[t, item], h, c, w[d], r[d], bias, peepholes, d)
                sequence[t, d, item] = h
            last_h[d, item], last_c[d, item] = h, c
    if layout:
        sequence, last_h, last_c = sequence.transpose(2, 0, 1, 3), last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
    return [sequence, last_h, last_c][:count]


def _step(
    name: str,
    attributes: Mapping[str, Any],
    functions: Sequence[Callable[[np.ndarray], np.ndarray]],
    x: np.ndarray,
    h: np.ndarray,
    c: np.ndarray,
    w: np.ndarray,
    r: np.ndarray,
    bias: np.ndarray,
    peepholes: np.ndarray | None,
    d: int,
) -> tuple[np.ndarray, np.ndarray]:
    limit = attributes.get("clip")

    def clipped(v: np.ndarray) -> np.ndarray:
        return v if limit is None else np.clip(v, -limit, limit)

    half = bias.size // 2
    from_x, from_h = w @ x + bias[:half], r @ h + bias[half:]
    if name == "RNN":
        return functions[0](clipped(from_x + from_h)), c
    size = h.size
    xs, hs = from_x.reshape(-1, size), from_h.reshape(-1, size)
    f, g = functions[0], functions[1]
    if name == "GRU":
        z, reset = f(clipped(xs[0] + hs[0])), f(clipped(xs[1] + hs[1]))
        if attributes.get("linear_before_reset", 0):
            new = g(clipped(xs[2] + reset * hs[2]))
        else:
            new = g(clipped(xs[2] + r[2 * size :] @ (reset * h) + bias[half + 2 * size :]))
        return (1 - z) * new + z * h, c
    p_i, p_o, p_f = np.zeros([3, size]) if peepholes is None else peepholes[d].reshape(3, size)
    i = f(clipped(xs[0] + hs[0] + p_i * c))
    forget = 1 - i if attributes.get("input_forget", 0) else f(clipped(xs[2] + hs[2] + p_f * c))
    c = forget * c + i * g(clipped(xs[3] + hs[3]))
    o = f(clipped(xs[1] + hs[1] + p_o * c))
    return o * functions[2](c), c


def _named(function: Callable[..., Any], name: str) -> Reference:
    return lambda attributes, version, inputs, count: function(attributes, version, inputs, count, name)


REFERENCES: Mapping[str, Reference] = {
    **{name: _named(_softmax, name) for name in ("Hardmax", "LogSoftmax", "Softmax")},
    **{name: _named(_pool, name) for name in ("AveragePool", "LpPool", "MaxPool")},
    **{name: _named(_global_pool, name) for name in ("GlobalLpPool", "GlobalMaxPool")},
    **{name: _named(_recurrent, name) for name in ("GRU", "LSTM", "RNN")},
    "BatchNormalization": _batch_normalization,
    "LRN": _lrn,
    "OneHot": _one_hot,
}
