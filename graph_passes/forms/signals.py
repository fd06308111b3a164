"""Fourier transforms as products with constant matrices: DFT and STFT."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import constant, data_input, required, static_shape


def fourier(length: int, inverse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cosines and sines of a transform (length, length), indexed by input and frequency, in float64."""
    angles = 2 * np.pi / length * (np.outer(np.arange(length), np.arange(length)) % length)
    sign, factor = (1, 1 / length) if inverse else (-1, 1)
    return np.cos(angles) * factor, sign * np.sin(angles) * factor


def discrete_fourier_transform(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``DFT`` of a known length: (re, im) W, with W = cos + i sin, along the axis of the signal."""
    x = required(node.inputs[0])
    shape, axis, size = static_shape(x), _axis(node), data_input(node, 1)
    length = None if size is None else constant(size)
    if shape is None or axis is None or x.dtype is None or (size is not None and length is None):
        return None
    rank = len(shape)
    axis %= rank
    size = shape[axis] if length is None else int(length.reshape(-1)[0])
    inverse = bool(node.attributes.get_int("inverse", 0))
    onesided = bool(node.attributes.get_int("onesided", 0))
    if inverse and onesided:
        return None
    used, bins = min(size, shape[axis]), size // 2 + 1 if onesided else size
    dtype = x.dtype.numpy()
    cosines, sines = (matrix[:used, :bins].astype(dtype) for matrix in fourier(size, inverse))
    # The signal moves to the last axis; real and imaginary parts are apart.
    others = [place for place in range(rank - 1) if place != axis]
    parts = [_part(new, x, place, axis, used) for place in range(shape[-1])]
    moved = [new.op("Transpose", part, perm=[*others, axis]) for part in parts]
    real, imaginary = (new.op("MatMul", moved[0], new.constant("matrix", matrix)) for matrix in (cosines, sines))
    if len(moved) == 2:
        real = new.op("Sub", real, new.op("MatMul", moved[1], new.constant("matrix", sines)))
        imaginary = new.op("Add", imaginary, new.op("MatMul", moved[1], new.constant("matrix", cosines)))
    order = [*others, axis]
    back = [order.index(place) for place in range(rank - 1)]
    last = new.constant("last", np.array([-1], np.int64))
    both = [new.op("Unsqueeze", new.op("Transpose", part, perm=back), last) for part in (real, imaginary)]
    return [new.op("Concat", *both, axis=-1)]


def _axis(node: ir.Node) -> int | None:
    """Returns the axis of the signal: an attribute up to opset 19, an input later; None if it is not constant."""
    if "axis" in node.attributes:
        return node.attributes.get_int("axis")
    given = data_input(node, 2)
    if given is None:
        version = node.version or (node.graph.opset_imports.get("", 20) if node.graph is not None else 20)
        return 1 if version < 20 else -2
    known = constant(given)
    return None if known is None else int(known.reshape(-1)[0])


def _part(new: Replacement, x: ir.Value, place: int, axis: int, used: int) -> ir.Value:
    """Returns the real or imaginary part of the first ``used`` elements of a signal."""
    part = new.op("Gather", x, new.constant("place", np.array(place, np.int64)), axis=-1)
    ends = [new.constant("end", np.array([number], np.int64)) for number in (0, used, axis)]
    return new.op("Slice", part, *ends)


def short_time_fourier_transform(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``STFT``: a convolution with the windowed cosines and sines as kernels and the frame's step as stride."""
    x, step = required(node.inputs[0]), constant(node.inputs[1])
    shape, window, length = static_shape(x), data_input(node, 2), data_input(node, 3)
    taper, size = constant(window), constant(length)
    unknown = (window is not None and taper is None) or (length is not None and size is None)
    if shape is None or step is None or x.dtype is None or unknown:
        return None
    if size is not None:
        frame = int(size.reshape(-1)[0])
    elif taper is not None:
        frame = len(taper)
    else:
        return None
    taper = np.ones(frame) if taper is None else taper.astype(np.float64)
    if len(taper) != frame:
        return None
    bins = frame // 2 + 1 if node.attributes.get_int("onesided", 1) else frame
    cosines, sines = ((matrix * taper[:, None])[:, :bins].T for matrix in fourier(frame))
    if len(shape) == 2:
        shape = (*shape, 1)
        x = new.op("Reshape", x, new.constant("signal", np.array(shape, np.int64)))
    if shape[-1] == 1:
        kernel = np.concatenate([cosines, sines])[:, None]
    else:
        kernel = np.concatenate([np.stack([cosines, -sines], 1), np.stack([sines, cosines], 1)])
    kernel = new.constant("kernel", np.ascontiguousarray(kernel).astype((x.dtype or ir.DataType.FLOAT).numpy()))
    moved = new.op("Transpose", x, perm=(0, 2, 1))
    frames = new.op("Conv", moved, kernel, strides=[int(step.reshape(-1)[0])])
    node.outputs[0].shape = None  # onnx infers as many bins as samples if ``onesided`` is not given
    parts = new.op("Reshape", frames, new.constant("parts", np.array([shape[0], 2, bins, -1], np.int64)))
    return [new.op("Transpose", parts, perm=(0, 3, 2, 1))]
