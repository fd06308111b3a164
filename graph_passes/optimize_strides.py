"""Moves strides towards the inputs, across operators that work pixel by pixel, so that unread pixels are not computed.

::

    x ── conv 3x3 ── relu ── conv 1x1 ── add ── relu ──┬── conv 1x1, stride 2
    └───────────────────────────────────┘              └── conv 1x1, stride 2

    x ── conv 3x3, stride 2 ── relu ── conv 1x1 ── add ── relu ──┬── conv 1x1
    └─────────────────── max pool 1x1, stride 2 ──┘              └── conv 1x1

Each value is read on a grid. The grid is every second pixel if all readers have stride 2 and a 1x1 kernel, or a
dilation and padding that are multiples of 2. Grids are computed from the outputs backwards; the grid of a value is the
greatest common divisor of the grids of its readers. A convolution or pooling computes only its grid, by a larger
stride. Elementwise operators propagate the grid to their inputs. If another reader needs all pixels of one of several
inputs, a 1x1 pooling selects the grid, but only if this saves multiply-adds. The outputs are the same: no arithmetic
changes, some of it is omitted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd, prod
from typing import ClassVar, TypeAlias

import numpy as np

from graph_passes.base import Pass, Remark, described, too_old
from graph_passes.count import macs
from graph_passes.lazy import ir
from graph_passes.patterns.window import POOLS, Window
from graph_passes.values import (
    constant,
    is_op,
    known_shape,
    main_output,
    new_constant,
    new_node,
    producer,
    required,
    static_shape,
)

Grid: TypeAlias = tuple[int, ...]  # the step in pixels, one number per spatial axis

# Each output element depends on the input elements at the same pixel (and on broadcast ones).
ELEMENTWISE = frozenset(
    """Abs Add And Cast Ceil Celu Clip Concat Div Dropout Elu Equal Erf Exp Floor Gelu Greater HardSigmoid HardSwish
    Identity LeakyRelu Less Log LRN Max Mean Min Mish Mul Neg Not Or Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign
    Softplus Softsign Sqrt Sub Sum Tanh BatchNormalization ThresholdedRelu Where""".split()
)
# Operators of which only the first input is an image.
FIRST_ALONE = frozenset({"BatchNormalization", "Cast", "Clip", "Dropout", "LRN"})
ALIGNABLE = (
    "FLOAT",
    "FLOAT16",
    "DOUBLE",
)  # types of MaxPool, which takes a third less time than a Slice; that reads everything
OLDEST_OPSET = 10  # the first whose Slice has steps


@dataclass(frozen=True)
class OptimizeStrides(Pass):
    name: ClassVar[str] = "optimize_strides"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        graph, remark = model.graph, too_old(model, OLDEST_OPSET)
        if remark is not None:
            yield remark
            return
        if not any(is_op(node, "Conv", *POOLS) for node in graph):
            return
        images = _images(graph)
        plan, unaligned = _best_plan(graph, images)
        for node in unaligned:
            yield Remark(described(node), "its inputs are not aligned: no multiply-adds would be saved")
        yield from _stuck(images, plan)
        _Rewriter(graph, images, plan).run()


def _stuck(images: Mapping[ir.Node, _Image], plan: _Plan) -> Iterator[Remark]:
    """Yields remarks on strides of 1x1 convolutions that stay because others read all pixels of the input."""
    for node, image in images.items():
        x = node.inputs[0]
        if image.window is None or not image.window.pointwise or x is None or producer(x) not in images:
            continue
        left = [
            stride // step for stride, step in zip(image.window.strides, plan.grid(x, len(image.sizes)), strict=True)
        ]
        readers = [use.node for use in x.uses() if use.node is not node]
        if any(stride > 1 for stride in left) and (readers or x.is_graph_output()):
            by = described(readers[0]) if readers else "the caller"
            yield Remark(described(node), f"its stride stays: {x.name} is also read by {by}")


@dataclass(frozen=True)
class _Image:
    """A node whose output can be computed on a grid. Convolutions and poolings have a ``window``."""

    sizes: tuple[int, ...]
    window: Window | None


def _images(graph: ir.Graph) -> dict[ir.Node, _Image]:
    """Returns the nodes that can compute their output on a grid."""
    images = {}
    for node in graph:
        output = main_output(node) if node.outputs else None
        shape = static_shape(output)
        if shape is None or len(shape) < 3 or prod(shape) == 0:
            continue
        if is_op(node, "Conv", *POOLS):
            window = Window.of(node)
            x = static_shape(node.inputs[0])
            if window is not None and x is not None and window.output(x[2:]) == shape[2:]:  # no ceil_mode
                images[node] = _Image(shape[2:], window)
        elif is_op(node, *ELEMENTWISE) and _works_by_pixel(node, len(shape)):
            images[node] = _Image(shape[2:], None)
    return images


def _works_by_pixel(node: ir.Node, rank: int) -> bool:
    if is_op(node, "Concat"):
        axis = node.attributes.get_int("axis", 1)
        return axis % rank < 2 and all(static_shape(value) is not None for value in node.inputs)
    return all(value is None or _readable(value, rank) for value in _read(node))


def _readable(value: ir.Value, rank: int) -> bool:
    """Returns whether a grid of ``value`` can be selected: of a constant, an image or a broadcast operand."""
    shape = static_shape(value)
    if shape is None:
        return False
    return constant(value) is not None or len(shape) == rank or all(size == 1 for size in _spatial(value, rank - 2))


def _read(node: ir.Node) -> list[ir.Value | None]:
    return list(node.inputs[:1] if node.op_type in FIRST_ALONE else node.inputs)


def _spatial(value: ir.Value, rank: int) -> tuple[int, ...]:
    """Returns the sizes of the spatial axes after broadcasting to ``rank`` + 2 dimensions."""
    shape = static_shape(value) or ()
    return ((1,) * (rank + 2 - len(shape)) + shape)[2:]


@dataclass(frozen=True)
class _Plan:
    """``grids`` has the grid of each value that is not computed in full; ``macs`` counts the multiply-adds."""

    grids: Mapping[ir.Value, Grid]
    macs: int

    def grid(self, value: ir.Value, rank: int) -> Grid:
        return self.grids.get(value, (1,) * rank)


def _best_plan(graph: ir.Graph, images: Mapping[ir.Node, _Image]) -> tuple[_Plan, list[ir.Node]]:
    """Returns the plan with the fewest multiply-adds, and the nodes where aligning inputs does not save any."""
    costs = {node: macs(node) or 0 for node in images if is_op(node, "Conv")}
    unaligned: list[ir.Node] = []
    plan = _plan(graph, images, costs, unaligned)
    for node in images:  # in the graph's order: nodes nearer to the inputs are decided first
        if _must_align(node, images[node], plan):
            without = _plan(graph, images, costs, [*unaligned, node])
            if without.macs <= plan.macs:
                unaligned.append(node)
                plan = without
    return plan, unaligned


def _plan(
    graph: ir.Graph, images: Mapping[ir.Node, _Image], costs: Mapping[ir.Node, int], unaligned: list[ir.Node]
) -> _Plan:
    wanted: dict[ir.Value, Grid] = {}
    grids: dict[ir.Value, Grid] = {}
    total = 0
    for node in reversed(graph):
        image = images.get(node)
        if image is None:
            continue
        output, rank = node.outputs[0], len(image.sizes)
        whole = (1,) * rank
        readers = {use.node for use in output.uses()}
        known = not output.is_graph_output() and readers <= images.keys() and node not in unaligned
        # A reader of more axes broadcasts it.
        known = known and all(len(images[reader].sizes) == rank for reader in readers)
        grid = wanted.get(output, whole) if known else whole
        if any(step > 1 for step in grid):
            grids[output] = grid
        if node in costs:
            fewer = prod(-(-size // step) for size, step in zip(image.sizes, grid, strict=True))
            total += costs[node] * fewer // prod(image.sizes)
        for value, steps in _wants(node, image, grid):
            wanted[value] = tuple(map(gcd, wanted.get(value, (0,) * rank), steps))
    return _Plan(grids, total)


def _wants(node: ir.Node, image: _Image, grid: Grid) -> Iterator[tuple[ir.Value, Grid]]:
    """Yields each input with the grid on which ``node`` reads it to compute its output on ``grid``."""
    window = image.window
    if window is not None:
        x = required(node.inputs[0])
        steps = []
        for k, stride, dilation, before, step in zip(
            window.kernel, window.strides, window.dilations, window.before, grid, strict=True
        ):
            if k > 1 and not is_op(node, "Conv"):
                steps.append(1)  # the border of a pooling depends on more than the grid
            else:
                steps.append(gcd(stride * step, dilation if k > 1 else 0, before))
        yield x, tuple(steps)
        for value in node.inputs[1:]:
            if value is not None:
                yield value, (1,) * len(grid)
        return
    for value in _read(node):
        if value is not None:
            sizes = _spatial(value, len(grid))
            whole = any(a not in (1, b) for a, b in zip(sizes, image.sizes, strict=True))
            yield value, tuple(1 if size == 1 or whole else step for size, step in zip(sizes, grid, strict=True))


def _must_align(node: ir.Node, image: _Image, plan: _Plan) -> bool:
    """Returns whether an elementwise operator gets an input on a finer grid than it needs."""
    if image.window is not None:
        return False
    rank = len(image.sizes)
    grid = plan.grid(node.outputs[0], rank)
    return any(
        constant(value) is None and plan.grid(value, rank) != steps for value, steps in _wants(node, image, grid)
    )


class _Rewriter:
    """Applies a plan to a graph."""

    def __init__(self, graph: ir.Graph, images: Mapping[ir.Node, _Image], plan: _Plan) -> None:
        self._graph, self._images, self._plan = graph, images, plan
        self._aligned: dict[tuple[ir.Value, Grid], ir.Value] = {}

    def run(self) -> None:
        for node, image in self._images.items():
            if image.window is not None:
                self._stride(node, image.window, image.sizes)
            else:
                self._align(node, image)
        for value, grid in self._plan.grids.items():
            shape = known_shape(value)
            value.shape = ir.Shape([*shape[:2], *(-(-s // step) for s, step in zip(shape[2:], grid, strict=True))])

    def _stride(self, node: ir.Node, window: Window, sizes: tuple[int, ...]) -> None:
        """Changes the window to read the grid of the input and to compute the grid of the output."""
        x = required(node.inputs[0])
        rank = len(sizes)
        have, grid = self._plan.grid(x, rank), self._plan.grid(node.outputs[0], rank)
        if all(step == 1 for step in (*have, *grid)):
            return
        shape = known_shape(x)
        strides, dilations, before, after = [], [], [], []
        for axis in range(rank):
            k, step = window.kernel[axis], have[axis]
            strides.append(window.strides[axis] * grid[axis] // step)
            dilations.append(window.dilations[axis] // step if k > 1 else 1)
            before.append(window.before[axis] // step)
            positions = -(-sizes[axis] // grid[axis])
            reach, size = (k - 1) * dilations[-1] + 1, -(-shape[2 + axis] // step)
            # Keep the padding if possible: some runtimes are faster with equal padding on all sides.
            same = window.after[axis] // step
            suffices = (size + before[-1] + same - reach) // strides[-1] + 1 == positions
            after.append(same if suffices else max(strides[-1] * (positions - 1) + reach - before[-1] - size, 0))
        Window(window.kernel, tuple(strides), tuple(dilations), tuple(before), tuple(after)).write(node)
        if "ceil_mode" in node.attributes:  # the padding is exact; larger strides would add a position
            node.attributes.pop("ceil_mode")

    def _align(self, node: ir.Node, image: _Image) -> None:
        """Replaces each input of an elementwise operator by the same value on the grid of its output."""
        rank = len(image.sizes)
        grid = self._plan.grid(node.outputs[0], rank)
        for value, steps in _wants(node, image, grid):
            have = self._plan.grid(value, rank)
            if have == steps:
                continue
            finer = tuple(want // step for want, step in zip(steps, have, strict=True))
            aligned = self._on_grid(value, finer)
            for place, there in enumerate(node.inputs):
                if there is value:
                    node.replace_input_with(place, aligned)

    def _on_grid(self, value: ir.Value, steps: Grid) -> ir.Value:
        if (value, steps) in self._aligned:
            return self._aligned[value, steps]
        array = constant(value)
        if array is not None:
            places = [slice(None), slice(None), *(slice(None, None, step) for step in steps)]
            aligned = new_constant(self._graph, f"{value.name}_aligned", array[tuple(places[-array.ndim :])])
        else:
            aligned = self._pooled(value, steps)
        self._aligned[value, steps] = aligned
        return aligned

    def _pooled(self, value: ir.Value, steps: Grid) -> ir.Value:
        """Returns every ``steps``-th pixel of a value."""
        shape = known_shape(value)  # still without the value's own grid, which is applied here:
        have = self._plan.grid(value, len(steps))
        sizes = [-(-size // (step * own)) for size, step, own in zip(shape[2:], steps, have, strict=True)]
        name, there = f"{value.name}_aligned", [*shape[:2], *sizes]
        if value.dtype is not None and value.dtype.name in ALIGNABLE:
            attributes = {"kernel_shape": [1] * len(steps), "strides": list(steps)}
            pool = new_node("MaxPool", [value], attributes, like=value, name=name, shape=there)
        else:
            axes = np.arange(2, 2 + len(steps))
            numbers = (0 * axes, np.full_like(axes, np.iinfo(np.int64).max), axes, np.array(steps))
            operands = [new_constant(self._graph, f"{name}_{place}", array) for place, array in enumerate(numbers)]
            pool = new_node("Slice", [value, *operands], like=value, name=name, shape=there)
        maker = value.producer()
        if maker is not None:
            self._graph.insert_after(maker, pool)
        else:
            self._graph.insert_before(self._graph[0], pool)
        pool.outputs[0].name = name
        return pool.outputs[0]
