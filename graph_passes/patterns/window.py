"""The window of a convolution or pooling: kernel, strides, dilations and padding."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
        """Returns the window of a Conv, ConvTranspose or pooling; None if its kernel or SAME padding is unknown.

        The padding of a ConvTranspose with ``auto_pad`` or ``output_shape`` is another one: :func:`transposed_window`.
        """
        window = cls._explicit(node)
        if window is None:
            return None
        rank = len(window.kernel)
        auto = node.attributes.get_string("auto_pad", "NOTSET")
        if auto == "VALID":
            return replace(window, before=(0,) * rank, after=(0,) * rank)
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            shape = static_shape(node.inputs[0])
            if shape is None or len(shape) != rank + 2:
                return None
            # As ONNX Runtime, whose poolings ignore dilations here.
            reach = window.kernel if is_op(node, *POOLS) else window.reach
            return window._same(shape[2:], reach, auto == "SAME_UPPER")
        return window

    @classmethod
    def _explicit(cls, node: ir.Node) -> Window | None:
        """Returns the window with the padding of the attribute ``pads``."""
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

    def rounded_up(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """Returns the number of window positions of a pooling with ``ceil_mode`` 1. All of them begin in the image."""
        counts = []
        for size, before, after, reach, stride in zip(
            sizes, self.before, self.after, self.reach, self.strides, strict=True
        ):
            count = -(-(size + before + after - reach) // stride) + 1
            counts.append(count - 1 if (count - 1) * stride >= size + before else count)
        return tuple(counts)

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


def transposed_window(node: ir.Node) -> tuple[Window, list[int]] | None:
    """Returns the window of a ConvTranspose with explicit padding, and its output padding.

    None if the padding depends on a size that is unknown, or if the output reaches further than an output padding may.
    """
    window = Window._explicit(node)
    if window is None:
        return None
    rank = len(window.kernel)
    more = list(node.attributes.get_ints("output_padding", ()) or [0] * rank)
    wanted = list(node.attributes.get_ints("output_shape", ()) or [])[-rank:]
    auto = node.attributes.get_string("auto_pad", "NOTSET")
    shape = static_shape(node.inputs[0])
    same = not wanted and auto in ("SAME_UPPER", "SAME_LOWER")
    if same and shape is not None and len(shape) == rank + 2:
        wanted = [size * stride for size, stride in zip(shape[2:], window.strides, strict=True)]
    if len(more) != rank or (not wanted and auto in ("SAME_UPPER", "SAME_LOWER")):
        return None
    if not wanted:
        zeros = (0,) * rank
        return (replace(window, before=zeros, after=zeros) if auto == "VALID" else window), more
    if shape is None or len(shape) != rank + 2 or len(wanted) != rank:
        return None
    before, after = [], []
    for axis in range(rank):
        stride, reach = window.strides[axis], window.reach[axis]
        total = stride * (shape[2 + axis] - 1) + reach + more[axis] - wanted[axis]
        if total < 0 and same:
            return None  # runtimes do not agree on the size of the output
        if total < 0:  # the output ends with zeros
            more[axis] -= total
            if more[axis] >= max(stride, window.dilations[axis]):
                return None
            total = 0
        small = total // 2
        before.append(small if auto == "SAME_UPPER" else total - small)
        after.append(total - small if auto == "SAME_UPPER" else small)
    return replace(window, before=tuple(before), after=tuple(after)), more


def explicit_attributes(node: ir.Node) -> list[ir.Attr] | None:
    """Returns all attributes of a Conv or ConvTranspose with their values; None if its padding is unknown."""
    transposed = transposed_window(node) if is_op(node, "ConvTranspose") else None
    window = Window.of(node) if is_op(node, "Conv") else None if transposed is None else transposed[0]
    if window is None:
        return None
    attributes = [
        ir.AttrInt64s("strides", window.strides),
        ir.AttrInt64s("pads", window.pads),
        ir.AttrInt64s("dilations", window.dilations),
        ir.AttrInt64("group", node.attributes.get_int("group", 1)),
    ]
    return attributes if transposed is None else [*attributes, ir.AttrInt64s("output_padding", transposed[1])]
