"""Geometry of windows that slide over images: borders, output sizes, ``auto_pad``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.tvm_backend.operators.node import Node, Shape, Unsupported


@dataclass(frozen=True)
class Windows:
    """Windows of one image axis per element.

    Attributes:
        size: sizes of the image.
        kernel, strides, dilations: of the windows.
        before, after: borders, of 0 or more.
        output: number of windows along each axis.
    """

    size: Shape
    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    after: Shape
    output: Shape

    @classmethod
    def of(cls, node: Node, size: Sequence[int], kernel: Sequence[int], pooling: bool = False) -> Windows:
        """Reads the attributes of a convolution or a pooling.

        Raises:
            Unsupported: they do not fit the image.
        """
        rank = len(size)
        strides = node.ints("strides") or [1] * rank
        dilations = node.ints("dilations") or [1] * rank
        pads = node.ints("pads") or [0] * 2 * rank
        if not len(kernel) == len(strides) == len(dilations) == rank or len(pads) != 2 * rank:
            raise Unsupported(f"kernel_shape, strides, dilations and pads do not fit {rank} axes of an image")
        if min((*kernel, *strides, *dilations), default=1) < 1:
            raise Unsupported("kernel_shape, strides and dilations must be at least 1")
        if min(pads, default=0) < 0:
            raise Unsupported(f"pads {pads} are negative; ONNX allows pads of 0 or more")
        auto_pad = node.attribute("auto_pad", "NOTSET")
        before, after, output = [], [], []
        for axis in range(rank):
            extent = (kernel[axis] - 1) * dilations[axis] + 1
            if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
                count = -(-size[axis] // strides[axis])
                window = kernel[axis] if pooling else extent  # as ONNX Runtime, whose pooling ignores dilations here
                total = (count - 1) * strides[axis] + window - size[axis]
                if total < -1:
                    raise Unsupported(f"{auto_pad} of windows that skip pixels is ambiguous; set pads instead")
                total = max(total, 0)
                low = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
                high = total - low
                if pooling:
                    count = (size[axis] + total - extent) // strides[axis] + 1
            else:
                low, high = (0, 0) if auto_pad == "VALID" else (pads[axis], pads[axis + rank])
                space = size[axis] + low + high - extent
                count = space // strides[axis] + 1
                if pooling and node.attribute("ceil_mode", 0):
                    count = -(-space // strides[axis]) + 1
                    # The last window must start inside the image or the border before it.
                    count -= (count - 1) * strides[axis] >= size[axis] + low
            if count < 1:
                raise Unsupported(f"windows of {extent} do not fit an image axis of {size[axis] + low + high}")
            before.append(low)
            after.append(high)
            output.append(count)
        return cls(*map(tuple, (size, kernel, strides, dilations, before, after, output)))

    def apart(self) -> tuple[Windows, ...]:
        """Returns the windows along all axes except the last, and those along the last; one if there is one axis."""
        if len(self.size) == 1:
            return (self,)
        ones, zeros = (1,) * (len(self.size) - 1), (0,) * (len(self.size) - 1)
        columns = Windows(
            self.size,
            (*self.kernel[:-1], 1),
            (*self.strides[:-1], 1),
            (*self.dilations[:-1], 1),
            (*self.before[:-1], 0),
            (*self.after[:-1], 0),
            (*self.output[:-1], self.size[-1]),
        )
        rows = Windows(
            columns.output,
            (*ones, self.kernel[-1]),
            (*ones, self.strides[-1]),
            (*ones, self.dilations[-1]),
            (*zeros, self.before[-1]),
            (*zeros, self.after[-1]),
            self.output,
        )
        return columns, rows
