"""Strides move towards the inputs, past whatever works pixel by pixel, so that nothing is computed that nobody reads.

::

    x ── conv 3x3 ── relu ── conv 1x1 ── add ── relu ──┬── conv 1x1, stride 2
    └───────────────────────────────────┘              └── conv 1x1, stride 2

    x ── conv 3x3, stride 2 ── relu ── conv 1x1 ── add ── relu ──┬── conv 1x1
    └─────────────────── max pool 1x1, stride 2 ──┘              └── conv 1x1

A value is read on a grid: every second pixel, say, where all that read it have stride 2 and a kernel of 1x1 (or a
dilation and padding that are multiples of 2). Grids are found from the outputs backwards; a value's is the greatest
common divisor of its readers'. A convolution or pooling then computes that grid alone, by a larger stride; elementwise
operators pass it on to their inputs. Where one of several inputs is needed in full elsewhere, a 1x1 pooling aligns it,
but only if multiply-adds fall. The answers are the same: no arithmetic changes, some is left out.
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

Grid: TypeAlias = tuple[int, ...]  # every how many pixels, one number a spatial axis

# Each element of the answer comes from the elements of the inputs at its pixel (and broadcast ones).
ELEMENTWISE = frozenset(
    """Abs Add And Cast Ceil Celu Clip Concat Div Dropout Elu Equal Erf Exp Floor Gelu Greater HardSigmoid HardSwish
    Identity LeakyRelu Less Log LRN Max Mean Min Mish Mul Neg Not Or Pow PRelu Reciprocal Relu Round Selu Sigmoid Sign
    Softplus Softsign Sqrt Sub Sum Tanh BatchNormalization ThresholdedRelu Where""".split()
)
# Of these, only the first input is an image.
FIRST_ALONE = frozenset({"BatchNormalization", "Cast", "Clip", "Dropout", "LRN"})
ALIGNABLE = ("FLOAT", "FLOAT16", "DOUBLE")  # what a MaxPool reads; it is a third faster than a Slice, which reads all
OLDEST_OPSET = 10  # whose Slice has steps


@dataclass(frozen=True)
class OptimizeStrides(Pass):
    name: ClassVar[str] = "optimize_strides"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        graph, refusal = model.graph, too_old(model, OLDEST_OPSET)
        if refusal is not None:
            yield refusal
            return
        if not any(is_op(node, "Conv", *POOLS) for node in graph):
            return
        images = _images(graph)
        plan, refused = _best_plan(graph, images)
        for node in refused:
            yield Remark(described(node), "its inputs are not aligned: no multiply-adds would be saved")
        yield from _stuck(images, plan)
        _Rewriter(graph, images, plan).run()


def _stuck(images: Mapping[ir.Node, _Image], plan: _Plan) -> Iterator[Remark]:
    """Strides of 1x1 convolutions that stay where they are because others read all pixels of their input."""
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
    """A node whose answer can be computed on a grid: a convolution or pooling where it has a ``window``."""

    sizes: tuple[int, ...]
    window: Window | None


def _images(graph: ir.Graph) -> dict[ir.Node, _Image]:
    """The nodes that can pass a grid on, or can at least be told which grid they read."""
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
    """Whether a grid of a value can be taken, if need be: of a constant, of an image, of what is broadcast."""
    shape = static_shape(value)
    if shape is None:
        return False
    return constant(value) is not None or len(shape) == rank or all(size == 1 for size in _spatial(value, rank - 2))


def _read(node: ir.Node) -> list[ir.Value | None]:
    return list(node.inputs[:1] if node.op_type in FIRST_ALONE else node.inputs)


def _spatial(value: ir.Value, rank: int) -> tuple[int, ...]:
    """Sizes of the spatial axes as broadcasting sees them."""
    shape = static_shape(value) or ()
    return ((1,) * (rank + 2 - len(shape)) + shape)[2:]


@dataclass(frozen=True)
class _Plan:
    """``grids`` has the grid that each value is computed on, where it is not the whole; ``macs`` is what that costs."""

    grids: Mapping[ir.Value, Grid]
    macs: int

    def grid(self, value: ir.Value, rank: int) -> Grid:
        return self.grids.get(value, (1,) * rank)


def _best_plan(graph: ir.Graph, images: Mapping[ir.Node, _Image]) -> tuple[_Plan, list[ir.Node]]:
    """The plan of fewest multiply-adds, and the nodes at which aligning would not have saved any."""
    costs = {node: macs(node) or 0 for node in images if is_op(node, "Conv")}
    refused: list[ir.Node] = []
    plan = _plan(graph, images, costs, refused)
    for node in images:  # in the graph's order: what is nearer to the inputs decides first
        if _must_align(node, images[node], plan):
            without = _plan(graph, images, costs, [*refused, node])
            if without.macs <= plan.macs:
                refused.append(node)
                plan = without
    return plan, refused


def _plan(
    graph: ir.Graph, images: Mapping[ir.Node, _Image], costs: Mapping[ir.Node, int], refused: list[ir.Node]
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
        known = not output.is_graph_output() and readers <= images.keys() and node not in refused
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
    """Which grid of each input a node reads to compute its answer on a grid."""
    window = image.window
    if window is not None:
        x = required(node.inputs[0])
        steps = []
        for k, stride, dilation, before, step in zip(
            window.kernel, window.strides, window.dilations, window.before, grid, strict=True
        ):
            if k > 1 and not is_op(node, "Conv"):
                steps.append(1)  # what a pooling does at borders depends on more than the grid
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
    """Whether an elementwise operator gets an input on a finer grid than it needs."""
    if image.window is not None:
        return False
    rank = len(image.sizes)
    grid = plan.grid(node.outputs[0], rank)
    return any(
        constant(value) is None and plan.grid(value, rank) != steps for value, steps in _wants(node, image, grid)
    )


class _Rewriter:
    """Carries out a plan."""

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
        """A window that reads its input's grid and answers on its output's."""
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
            answers = -(-sizes[axis] // grid[axis])
            reach, size = (k - 1) * dilations[-1] + 1, -(-shape[2 + axis] // step)
            # As it was, where that serves: some runtimes are faster on images that are padded alike on all sides.
            same = window.after[axis] // step
            serves = (size + before[-1] + same - reach) // strides[-1] + 1 == answers
            after.append(same if serves else max(strides[-1] * (answers - 1) + reach - before[-1] - size, 0))
        Window(window.kernel, tuple(strides), tuple(dilations), tuple(before), tuple(after)).write(node)

    def _align(self, node: ir.Node, image: _Image) -> None:
        """Gives an elementwise operator each input on the grid that it answers on."""
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
        """Every so many pixels of a value."""
        shape = known_shape(value)  # as before the rewriting, and so on the value's own grid:
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
