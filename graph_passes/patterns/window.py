"""The window of a convolution or pooling: kernel, strides, dilations and padding."""

from __future__ import annotations

from dataclasses import dataclass

from graph_passes.lazy import ir
from graph_passes.values import data_input, is_op, static_shape

POOLS = ("AveragePool", "LpPool", "MaxPool")


@dataclass(frozen=True)
class Window:
    """The window of a convolution or pooling, one number per spatial axis in each field.

    ``before`` and ``after`` count padding. Padding is zeros for convolutions; poolings skip it.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @classmethod
    def of(cls, node: ir.Node) -> Window | None:
        """Returns the window of a Conv, ConvTranspose or pooling; None if its kernel or SAME padding is unknown."""
        ints = node.attributes.get_ints
        kernel = ints("kernel_shape", ())
        if not kernel and not is_op(node, *POOLS):
            weight = data_input(node, 1)
            dims = None if weight is None or weight.shape is None else weight.shape.dims[2:]
            if not dims or not all(isinstance(dim, int) for dim in dims):
                return None
            kernel = tuple(int(dim) for dim in dims if isinstance(dim, int))
        if not kernel:
            return None
        rank = len(kernel)
        strides = tuple(ints("strides", ())) or (1,) * rank
        dilations = tuple(ints("dilations", ())) or (1,) * rank
        pads = tuple(ints("pads", ())) or (0,) * (2 * rank)
        window = cls(tuple(kernel), strides, dilations, pads[:rank], pads[rank:])
        if any(len(field) != rank for field in (strides, dilations, window.before, window.after)):
            return None
        auto = node.attributes.get_string("auto_pad", "NOTSET")
        if auto == "VALID":
            return cls(window.kernel, strides, dilations, (0,) * rank, (0,) * rank)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            shape = static_shape(node.inputs[0])
            if shape is None or len(shape) != rank + 2:
                return None
            # As ONNX Runtime, whose poolings ignore dilations here.
            reach = window.kernel if is_op(node, *POOLS) else window.reach
            return window._same(shape[2:], reach, auto == "SAME_UPPER")
        return window

    @property
    def reach(self) -> tuple[int, ...]:
        """The extent of the window on the image, in pixels: (k - 1) * dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def pads(self) -> list[int]:
        """The padding in the order of the attribute ``pads``."""
        return [*self.before, *self.after]

    @property
    def pointwise(self) -> bool:
        """Whether each output depends on one pixel and none on padding."""
        return all(k == 1 for k in self.kernel) and not any(self.pads)

    def output(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the number of window positions on an image of these sizes (``ceil_mode`` 0)."""
        return tuple(
            (size + before + after - reach) // stride + 1
            for size, before, after, reach, stride in zip(
                sizes, self.before, self.after, self.reach, self.strides, strict=True
            )
        )

    def write(self, node: ir.Node) -> None:
        """Sets the attributes of ``node``."""
        node.attributes.pop("auto_pad", None)
        node.attributes.add(ir.AttrInt64s("strides", self.strides))
        node.attributes.add(ir.AttrInt64s("pads", self.pads))
        if (
            not is_op(node, "AveragePool") or "dilations" in node.attributes
        ):  # AveragePool has no dilations before opset 19
            node.attributes.add(ir.AttrInt64s("dilations", self.dilations))

    def _same(self, sizes: tuple[int, ...], reaches: tuple[int, ...], upper: bool) -> Window | None:
        """Pads to ceil(size / stride) positions. The larger half of an odd pad is after (upper) or before the image."""
        totals = [
            (-(-size // stride) - 1) * stride + reach - size
            for size, stride, reach in zip(sizes, self.strides, reaches, strict=True)
        ]
        if min(totals) < -1:
            return None  # the windows skip pixels, and runtimes do not agree which
        totals = [max(total, 0) for total in totals]
        small, large = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        before, after = (small, large) if upper else (large, small)
        return Window(self.kernel, self.strides, self.dilations, before, after)
