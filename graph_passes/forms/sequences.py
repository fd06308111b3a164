"""Operators that move elements: ReverseSequence, Col2Im, SpaceToDepth, EyeLike."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from graph_passes.lazy import ir
from graph_passes.replacement import Replacement
from graph_passes.values import constant, required, static_shape


def reverse_sequence(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``ReverseSequence``: a Gather of step n - 1 - t for t < n, the length of a sequence, and of step t above."""
    x, lengths = map(required, node.inputs)
    shape = static_shape(x)
    if shape is None:
        return None
    time, batch = node.attributes.get_int("time_axis", 0) or 0, node.attributes.get_int("batch_axis", 1) or 0
    rank = len(shape)
    wide = [1] * rank
    wide[batch % rank] = shape[batch % rank]
    steps = np.arange(shape[time % rank], dtype=np.int64)
    steps = new.constant("steps", steps.reshape([-1 if axis == time % rank else 1 for axis in range(rank)]))
    last = new.op("Reshape", lengths, new.constant("wide", np.array(wide, np.int64)))
    mirrored = new.op("Sub", new.op("Sub", last, new.constant("one", np.array(1, np.int64))), steps)
    index = new.op("Where", new.op("Less", steps, last), mirrored, steps)
    index = new.op("Expand", index, new.constant("shape", np.array(shape, np.int64)))
    return [new.op("GatherElements", x, index, axis=time)]


def column_to_image(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``Col2Im``: a transposed convolution whose kernel puts each element of a column at its place in the block."""
    x = required(node.inputs[0])
    shape, (image, block) = static_shape(x), (constant(value) for value in node.inputs[1:3])
    if shape is None or image is None or block is None or x.dtype is None or len(block) > 3:
        return None
    image, block = [int(size) for size in image], [int(size) for size in block]
    rank = len(block)
    attributes = node.attributes
    dilations = list(attributes.get_ints("dilations", ()) or [1] * rank)
    strides = list(attributes.get_ints("strides", ()) or [1] * rank)
    pads = list(attributes.get_ints("pads", ()) or [0] * 2 * rank)
    extents = [(size - 1) * step + 1 for size, step in zip(block, dilations, strict=True)]
    padded = [size + pads[axis] + pads[axis + rank] for axis, size in enumerate(image)]
    columns = [(size - extent) // step + 1 for size, extent, step in zip(padded, extents, strides, strict=True)]
    reached = [(count - 1) * step + extent for count, step, extent in zip(columns, strides, extents, strict=True)]
    if reached != padded:  # no column reaches the last pixels
        return None
    taps, channels = prod(block), shape[1] // prod(block)
    kernel = np.zeros((channels, taps, 1, taps), x.dtype.numpy())
    kernel[:, np.arange(taps), 0, np.arange(taps)] = 1
    wide = new.op("Reshape", x, new.constant("columns", np.array([shape[0], shape[1], *columns], np.int64)))
    image_of = new.op(
        "ConvTranspose",
        wide,
        new.constant("kernel", kernel.reshape(channels * taps, 1, *block)),
        group=channels,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )
    return [image_of]


def space_to_depth(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``SpaceToDepth`` with the channels first in each block, a mode that TVM ignores."""
    x = required(node.inputs[0])
    shape, size = static_shape(x), node.attributes.get_int("blocksize", 1) or 1
    if node.attributes.get_string("mode", "DCR") != "CRD" or shape is None:
        return None
    batch, channels, height, width = shape
    blocks = [batch, channels, height // size, size, width // size, size]
    y = new.op("Reshape", x, new.constant("blocks", np.array(blocks, np.int64)))
    y = new.op("Transpose", y, perm=(0, 1, 3, 5, 2, 4))
    whole = [batch, channels * size * size, height // size, width // size]
    return [new.op("Reshape", y, new.constant("whole", np.array(whole, np.int64)))]


def eye_like(node: ir.Node, new: Replacement) -> Sequence[ir.Value] | None:
    """``EyeLike`` depends on the shape only."""
    x = required(node.inputs[0])
    shape = static_shape(x)
    if shape is None or x.dtype is None:
        return None
    dtype = ir.DataType(node.attributes.get_int("dtype", 0) or x.dtype.value)
    eye = np.eye(*shape, k=node.attributes.get_int("k", 0) or 0, dtype=dtype.numpy())
    return [new.op("Identity", new.constant("eye", eye))]
