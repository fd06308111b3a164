"""Channels move last through the whole interior, and transposes remain where the model begins and ends.

::

    x ── Conv ── Relu ──┬── MaxPool ── Concat ── GlobalAveragePool ── Flatten ── y
                        └──────────────┘

    x ── Transpose ── Conv_nhwc ── Relu ──┬── MaxPool_nhwc ── Concat ── GlobalAveragePool_nhwc ── Reshape ── y
                                          └───────────────────┘

Convolutions want channels last; what works on either layout may follow them, and everything else keeps the layout that
it has. Which nodes follow is a minimum cut (Ford and Fulkerson, 1956): a value that is written in one layout and read
in the other costs one transpose, however many read it, and as few elements as possible are transposed. Of equal cuts
the one nearest to the ends of the model is taken. Transposes that the model has itself, as those of TensorFlow, change
the layout for nothing: they vanish where both of their sides can do without.

Operators that mean channels by the second axis become calls of functions of the domain ``loopwright``, as
``MaxPool_nhwc``, whose body is transpose, standard operator, transpose. Weights stay as ONNX has them. All other
operators stay themselves, on other axes. Where a Flatten would need the elements in their old order, but only products
with constants read it, the rows of these constants are put in the new order.

For our lowering: a runtime without such kernels runs the bodies, transposes and all.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from math import inf, prod
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np

from graph_passes.base import DOMAIN, Pass, Remark, described
from graph_passes.fuse_layers import OLDEST_OPSET
from graph_passes.layers import Layer, call, call_function, function, in_channels_last
from graph_passes.lazy import ir
from graph_passes.values import (
    STANDARD,
    bypass,
    constant,
    data_input,
    is_op,
    main_output,
    new_constant,
    new_node,
    producer,
    sole_user,
)
from graph_passes.window import Window

_T = TypeVar("_T")
_Dim: TypeAlias = "int | ir.SymbolicDim"
THEN = "_then_"  # between the names of two layers in one call


@dataclass(frozen=True)
class ChannelsLast(Pass):
    name: ClassVar[str] = "channels_last"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        opset = model.opset_imports.get("", 0)
        if opset < OLDEST_OPSET:
            yield Remark("opset", f"{opset} is too old for layers, {OLDEST_OPSET} is needed; fold_constants raises it")
            return
        forms: dict[ir.Node, _Form] = {}
        refusals: dict[ir.Node, str] = {}
        for node in model.graph:
            form = _form(node)
            if isinstance(form, _Form):
                forms[node] = form
            elif form:
                refusals[node] = form
        for node, reason in refusals.items():
            if _wants_channels_last(node):
                yield Remark(described(node), f"keeps its layout: {reason}")
        if any(_wants_channels_last(node) for node in forms):
            edit = _Edit(model, forms, refusals, _cheapest(model.graph, forms))
            edit.run()
            yield from edit.remarks


# Layouts. Of any array of four dimensions or more, the last two are those of the image.


def channels_last(rank: int) -> tuple[int, ...]:
    """Which axis stands where: (0, 2, 3, 1). With five dimensions, those between batch and image are all channels."""
    return (0, rank - 2, rank - 1, *range(1, rank - 2))


def channels_first(rank: int) -> tuple[int, ...]:
    """The way back: (0, 3, 1, 2)."""
    return tuple(channels_last(rank).index(axis) for axis in range(rank))


def _dims(value: ir.Value | None) -> list[_Dim]:
    """None also where even their number is unknown."""
    return [] if value is None or value.shape is None else list(value.shape)


def _rank(value: ir.Value | None) -> int:
    return len(_dims(value))


def _reordered(dims: Sequence[_T], perm: Sequence[int]) -> list[_T]:
    return [dims[axis] for axis in perm]


def _last_dims(dims: Sequence[_T]) -> list[_T]:
    return _reordered(dims, channels_last(len(dims)))


def _wide(dims: Sequence[_T], rank: int) -> list[_T | int]:
    """Dimensions as they are broadcast to more."""
    return [*[1] * (rank - len(dims)), *dims]


def _is_image(value: ir.Value | None) -> bool:
    return _rank(value) >= 4


def _moved(axis: int, rank: int) -> int:
    return channels_last(rank).index(axis % rank)


def _keeps_order(dims: Sequence[object]) -> bool:
    """Whether the elements lie in memory in the same order with channels last, as those of (N, C, 1, 1) do."""
    order = [axis for axis in channels_last(len(dims)) if dims[axis] != 1]
    return order == sorted(order)


class _Side(Enum):
    """The layout in which a node reads or writes images."""

    FIRST = "channels first: as the model has it"
    LAST = "channels last"
    EITHER = "whichever is there"  # of reading only
    NODE = "all in the same, whichever that is"


_Images: TypeAlias = Mapping[int, ir.Value]  # by the index of the input, in the layout that the node then reads
_Build: TypeAlias = Callable[["_Edit", ir.Node, _Images, bool], Sequence[ir.Value]]


@dataclass(frozen=True)
class _Form:
    """How a node can do with channels last.

    ``build(edit, node, images, to_last)`` writes it anew and gives its answers, with channels last if ``to_last``.
    """

    images: tuple[int, ...]  # which inputs
    build: _Build
    reads: _Side = _Side.NODE
    writes: _Side = _Side.NODE


# Which nodes are on which side


def _cheapest(graph: ir.Graph, forms: Mapping[ir.Node, _Form]) -> set[ir.Node]:
    """The nodes to write with channels last, of those that can be written either way."""
    nets = []
    for value in [*graph.inputs, *(output for node in graph for output in node.outputs)]:
        if _is_image(value) and constant(value) is None:
            dims = _dims(value)
            cost = 1 if _keeps_order(dims) else prod(dim for dim in dims if isinstance(dim, int))
            nets.append((_members(graph, value, forms), cost))
    return {member for member in _last_side(nets) if isinstance(member, ir.Node)}


def _members(graph: ir.Graph, value: ir.Value, forms: Mapping[ir.Node, _Form]) -> set[Hashable]:
    """The sides of a value's writer and readers: nodes that can choose, or the layout that is fixed."""
    sides: set[Hashable] = {_Side.FIRST} if value.is_graph_output() else set()
    writer = value.producer()
    form = None if writer is None else forms.get(writer)
    sides.add(_Side.FIRST if form is None else writer if form.writes is _Side.NODE else form.writes)
    for user, place in value.uses():
        form = forms.get(user) if user.graph is graph else None
        if form is None or place not in form.images:
            sides.add(_Side.FIRST)
        elif form.reads is not _Side.EITHER:
            sides.add(user if form.reads is _Side.NODE else form.reads)
    return sides


def _last_side(nets: Sequence[tuple[set[Hashable], int]]) -> set[Hashable]:
    """The larger of the cheapest sets that hold LAST and not FIRST, where a net that is cut costs what it says.

    A net is cut where one member is within and another is not: in the flow network it is one edge between two points
    that all its members share (Lawler, 1973). Augmenting paths are the shortest ones (Edmonds and Karp, 1972).
    """
    room: defaultdict[Hashable, defaultdict[Hashable, float]] = defaultdict(lambda: defaultdict(float))
    for number, (members, cost) in enumerate(nets):
        if len(members) < 2:
            continue
        into, out_of = (number, "in"), (number, "out")
        for start, end, size in [
            (into, out_of, cost),
            *((member, into, inf) for member in members),
            *((out_of, member, inf) for member in members),
        ]:
            room[start][end] += size
            room[end][start] += 0
    while path := _path(room):
        flow = min(room[start][end] for start, end in path)
        for start, end in path:
            room[start][end] -= flow
            room[end][start] += flow
    beyond = _reached([_Side.FIRST], lambda end: (start for start in room[end] if room[start][end]))
    # What no path joins to LAST is cheap on either side, and stays as it is.
    return _reached([_Side.LAST], lambda start: (end for end in room[start] if end not in beyond))


def _path(room: Mapping[Hashable, Mapping[Hashable, float]]) -> list[tuple[Hashable, Hashable]]:
    """A shortest one from LAST to FIRST along which there is room, edge by edge; none where it is empty."""
    before: dict[Hashable, Hashable] = {_Side.LAST: None}
    waiting: deque[Hashable] = deque(before)
    while waiting and _Side.FIRST not in before:
        start = waiting.popleft()
        for end, size in room[start].items():
            if size and end not in before:
                before[end] = start
                waiting.append(end)
    path = []
    end: Hashable = _Side.FIRST
    while before.get(end) is not None:
        path.append((before[end], end))
        end = before[end]
    return path


def _reached(start: list[Hashable], following: Callable[[Hashable], Iterable[Hashable]]) -> set[Hashable]:
    found = set(start)
    waiting = list(start)
    while waiting:
        new = set(following(waiting.pop())) - found
        found |= new
        waiting += new
    return found


# The rewriting


@dataclass
class _Edit:
    """Writes the chosen nodes anew, in the order of the graph; then transposes what others still read of them."""

    model: ir.Model
    forms: Mapping[ir.Node, _Form]
    refusals: Mapping[ir.Node, str]
    chosen: set[ir.Node]
    remarks: list[Remark] = field(default_factory=list)
    twins: dict[ir.Value, ir.Value] = field(default_factory=dict)  # each value's answer with channels last
    operands: dict[tuple[ir.Value, int], ir.Value] = field(default_factory=dict)

    @property
    def graph(self) -> ir.Graph:
        return self.model.graph

    def run(self) -> None:
        rewritten = []
        for node in list(self.graph):
            form = self.forms.get(node)
            if form is None or not (self._writes_last(node, form) or self._reads_last(node, form)):
                continue
            images = {
                place: self._read(node, form, value)
                for place, value in enumerate(node.inputs)
                if place in form.images and value is not None
            }
            to_last = self._writes_last(node, form)
            answers = form.build(self, node, images, to_last)
            rewritten.append((node, answers, to_last))
            if to_last:
                self.twins.update(zip(node.outputs, answers, strict=False))
        for node, answers, to_last in reversed(rewritten):
            for old, new in zip(node.outputs, answers, strict=False):
                self._replace(node, old, new, to_last and _is_image(old))
            self.graph.remove(node, safe=True)

    def _writes_last(self, node: ir.Node, form: _Form) -> bool:
        return form.writes is _Side.LAST or (form.writes is _Side.NODE and node in self.chosen)

    def _reads_last(self, node: ir.Node, form: _Form) -> bool:
        if form.reads is _Side.EITHER:
            return any(self._is_written_last(node.inputs[place]) for place in form.images)
        return form.reads is _Side.LAST or (form.reads is _Side.NODE and node in self.chosen)

    def _is_written_last(self, value: ir.Value | None) -> bool:
        writer = producer(value)
        form = None if writer is None else self.forms.get(writer)
        return writer is not None and form is not None and value in self.twins and self._writes_last(writer, form)

    def _read(self, node: ir.Node, form: _Form, value: ir.Value) -> ir.Value:
        is_last = self._is_written_last(value) if form.reads is _Side.EITHER else self._reads_last(node, form)
        return self.last(value) if is_last else value

    def _replace(self, node: ir.Node, old: ir.Value, new: ir.Value, is_last: bool) -> None:
        """Lets whatever still reads the old answer read the new one, or a transpose of it."""
        if not old.uses() and not old.is_graph_output():
            return
        if is_last:
            self._remark_readers(old)
            back = new_node("Transpose", [new], {"perm": channels_first(_rank(old))}, like=old)
            self.graph.insert_after(node, back)
            new = back.outputs[0]
            new.name = old.name
        if old.is_graph_output():
            if new.producer() is None or new.is_graph_output():  # it has a name of its own
                copy = new_node("Identity", [new], like=old)
                self.graph.insert_after(node, copy)
                new = copy.outputs[0]
            new.name, new.type, new.shape = old.name, old.type, old.shape
        old.replace_all_uses_with(new, replace_graph_outputs=True)

    def _remark_readers(self, value: ir.Value) -> None:
        for user, _ in value.uses():
            reason = self.refusals.get(user) if user.graph is self.graph else "it is part of a loop or condition"
            if reason:
                self.remarks.append(Remark(described(user), f"what it reads is transposed: {reason}"))

    # What forms build with

    def last(self, value: ir.Value) -> ir.Value:
        """The value with channels last."""
        if value not in self.twins:
            array = constant(value)
            perm = channels_last(_rank(value) if array is None else array.ndim)
            if array is not None:
                self.twins[value] = new_constant(self.graph, f"{value.name}_nhwc", array.transpose(perm))
            else:
                self.twins[value] = self._transposed(value, perm)
        return self.twins[value]

    def _transposed(self, value: ir.Value, perm: tuple[int, ...]) -> ir.Value:
        moving = new_node("Transpose", [value], {"perm": perm}, like=value)
        moving.outputs[0].shape = ir.Shape(_reordered(_dims(value), perm))
        moving.outputs[0].name = f"{value.name}_nhwc"
        self._insert_behind(value, moving)
        writer = value.producer()
        if writer is not None and writer in self.refusals:
            self.remarks.append(Remark(described(writer), f"its answer is transposed: {self.refusals[writer]}"))
        return moving.outputs[0]

    def _insert_behind(self, value: ir.Value, node: ir.Node) -> None:
        writer = value.producer()
        if writer is None:
            self.graph.insert_before(self.graph[0], node)
        else:
            self.graph.insert_after(writer, node)

    def operand(self, value: ir.Value, rank: int) -> ir.Value:
        """What is broadcast to ``rank`` dimensions, channels last: (C, 1, 1) becomes (C,)."""
        array, dims = constant(value), _wide(_dims(value), rank)
        if all(dim == 1 for dim in dims):
            return value
        if (value, rank) not in self.operands:
            self.operands[value, rank] = (
                self._reshaped_operand(value, _last_dims(dims))
                if array is None
                else self._constant_operand(
                    value, array.reshape(_wide(array.shape, rank)).transpose(channels_last(rank))
                )
            )
        return self.operands[value, rank]

    def _constant_operand(self, value: ir.Value, wide: np.ndarray) -> ir.Value:
        leading = next((axis for axis in range(wide.ndim) if wide.shape[axis] != 1), wide.ndim)
        return new_constant(self.graph, f"{value.name}_nhwc", wide.reshape(wide.shape[leading:]))

    def _reshaped_operand(self, value: ir.Value, dims: list[_Dim]) -> ir.Value:
        shape = new_constant(self.graph, f"{value.name}_shape", np.array(_target([], dims), np.int64))
        node = new_node("Reshape", [value, shape], like=value)
        node.outputs[0].shape, node.outputs[0].name = ir.Shape(dims), f"{value.name}_nhwc"
        self._insert_behind(value, node)
        return node.outputs[0]

    def again(
        self,
        node: ir.Node,
        inputs: Mapping[int, ir.Value | np.ndarray],
        to_last: bool,
        attributes: Mapping[str, Any] | None = None,
    ) -> Sequence[ir.Value]:
        """The same operator with some inputs and attributes in the place of the ones it has."""
        given: list[ir.Value | None] = [*node.inputs, *[None] * (max(inputs, default=0) + 1 - len(node.inputs))]
        for place, value in inputs.items():
            is_array = isinstance(value, np.ndarray)
            given[place] = new_constant(self.graph, f"{node.outputs[0].name}_{place}", value) if is_array else value
        kept = [a for name, a in node.attributes.items() if name not in (attributes or {})]
        kept += ir.convenience.convert_attributes(attributes or {})
        new = ir.Node(node.domain, node.op_type, given, kept, num_outputs=len(node.outputs), name=node.name)
        return self.put(node, new, to_last)

    def put(self, node: ir.Node, new: ir.Node, to_last: bool) -> Sequence[ir.Value]:
        """Sets a new node before the one in whose place it will be. Its answers."""
        for old, answer in zip(node.outputs, new.outputs, strict=False):
            answer.type, answer.shape = old.type, old.shape
            answer.name = old.name
            if to_last and _is_image(old):
                answer.name = f"{old.name}_nhwc"
                answer.shape = ir.Shape(_last_dims(_dims(old)))
        self.graph.insert_before(node, new)
        return new.outputs


# Forms. A rule gives a node's, or says why it has none.

_Rule: TypeAlias = Callable[[ir.Node], "_Form | str"]


def _form(node: ir.Node) -> _Form | str:
    """The form of a node, or why it has none; "" where it has nothing to do with images."""
    if not any(_is_image(value) for value in (*node.inputs, *node.outputs)):
        return ""
    layers = _convolutions(node)
    if layers:
        return "" if layers[-1].channels_last else _layer(node, layers)
    rule = RULES.get(node.op_type) if node.domain in STANDARD else None
    return "it has no form with channels last" if rule is None else rule(node)


def _convolutions(node: ir.Node) -> list[Layer]:
    """The convolution that a node is, with what follows it; or the two that are one call; none for another node."""
    names = node.op_type.split(THEN) if node.domain == DOMAIN else []
    layers = [Layer.named(name) for name in names] or [Layer.of(node)]
    found = [layer for layer in layers if layer is not None and layer.op == "Conv"]
    return found if len(found) == len(layers) else []


def _wants_channels_last(node: ir.Node) -> bool:
    layers = _convolutions(node)
    return bool(layers) and not layers[-1].channels_last and _rank(data_input(node, 1)) == 4


def _same_rank(node: ir.Node, images: Sequence[int]) -> int | None:
    """How many dimensions these inputs and all outputs have; None where that is not the same number, or below 4."""
    ranks = {_rank(node.inputs[place]) for place in images}
    ranks |= {_rank(output) for output in node.outputs if output.uses() or output.is_graph_output()}
    return ranks.pop() if len(ranks) == 1 and min(ranks) >= 4 else None


RANK = "the number of its dimensions changes, or is unknown"


def _layer(node: ir.Node, layers: Sequence[Layer]) -> _Form | str:
    """A convolution, with or without what follows it."""
    images = (0, len(node.inputs) - 1) if layers[-1].residual else (0,)
    if _same_rank(node, images) != 4:
        return "it has not two spatial axes, or their number is unknown"
    attributes = list(node.attributes.values())
    if node.domain in STANDARD:
        window = Window.of(node)
        if window is None:
            return "its padding depends on a size that is unknown"
        attributes = [
            ir.AttrInt64s("strides", window.strides),
            ir.AttrInt64s("pads", window.pads),
            ir.AttrInt64s("dilations", window.dilations),
            ir.AttrInt64("group", node.attributes.get_int("group", 1)),
        ]

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        inputs: list[ir.Value | None] = [
            images.get(p, value) for p, value in enumerate(node.inputs) if value is not None
        ]
        if len(layers) == 1:
            new = call(edit.model, replace(layers[0], channels_last=True), inputs, attributes)
        else:
            new = call_function(edit.model, _around(node, layers, edit.model), inputs, attributes)
        new.name = node.name
        return edit.put(node, new, to_last)

    return _Form(images, build, _Side.LAST, _Side.LAST)


def _around(node: ir.Node, layers: Sequence[Layer], model: ir.Model) -> ir.Function:
    """A call of a function of ours between transposes."""
    names = [str(value.name) for value in model.functions[node.op_identifier()].inputs]
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    images = ["x", *(["r"] if layers[-1].residual else [])]
    body = in_channels_last([f"y = {DOMAIN}.{node.op_type} <{_passed(given)}> ({', '.join(names)})"], images)
    outer = function(f"{node.op_type}_nhwc", list(given), names, body, model.opset_imports[""])
    outer.opset_imports[DOMAIN] = 1
    return outer


def _follower(images: tuple[int, ...], inputs: Mapping[int, np.ndarray] | None = None, **attributes: Any) -> _Form:
    """The same operator, of images in the other layout and with these inputs and attributes in the place of its own."""
    return _Form(
        images,
        lambda edit, node, images, to_last: edit.again(node, {**images, **(inputs or {})}, to_last, attributes),
    )


def _elementwise(node: ir.Node) -> _Form | str:
    """Each element of the answer from the elements of the inputs at its place; what is smaller is broadcast."""
    rank = _rank(node.outputs[0])
    images, operands = [], []
    for place, value in enumerate(node.inputs):
        if value is not None and constant(value) is None and _rank(value) == rank:
            images.append(place)
        elif value is not None:
            operands.append(place)
            if value.shape is None or (constant(value) is None and not _is_moved_by_reshape(value, rank)):
                return "it broadcasts an operand of fewer dimensions"
    if _same_rank(node, images) is None or not images:
        return RANK

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        moved = {place: edit.operand(value, rank) for place in operands if (value := node.inputs[place]) is not None}
        return edit.again(node, {**images, **moved}, to_last)

    return _Form(tuple(images), build)


def _is_moved_by_reshape(value: ir.Value, rank: int) -> bool:
    """Whether an operand of fewer dimensions has its elements in the same order in either layout."""
    dims = _wide(_dims(value), rank)
    return len(dims) == rank and _keeps_order(dims) and _target([], _last_dims(dims)) is not None


def _along_axis(default: int | None, all_inputs: bool = False) -> _Rule:
    """Operators with an attribute ``axis`` that keep the number of dimensions."""

    def rule(node: ir.Node) -> _Form | str:
        images = tuple(range(len(node.inputs))) if all_inputs else (0,)
        rank = _same_rank(node, images)
        if rank is None:
            return RANK
        if node.attributes.get_int("block_size", 0):
            return "it quantizes in blocks"
        axis = node.attributes.get_int("axis", default)
        return RANK if axis is None else _follower(images, axis=_moved(axis, rank))

    return rule


def _gather(node: ir.Node) -> _Form | str:
    if _rank(data_input(node, 1)) != 1:
        return RANK
    return _along_axis(0)(node)


def _axes(node: ir.Node, place: int) -> list[int] | str | None:
    """The axes that an attribute or an input gives; None where there are none, words where they are not constant."""
    given = data_input(node, place)
    if given is None:
        listed = node.attributes.get_ints("axes", ())
        return list(listed) if listed else None
    array = constant(given)
    return "its axes are not constant" if array is None else [int(axis) for axis in array.reshape(-1)] or None


def _reduce(node: ir.Node) -> _Form | str:
    """Over some axes. Where those are gone from the answer, it is the same from either layout if no two axes that
    remain changed places.
    """
    rank = _rank(node.inputs[0])
    is_arg = node.op_type in ("ArgMax", "ArgMin")
    axes = [node.attributes.get_int("axis", 0)] if is_arg else _axes(node, 1)
    if isinstance(axes, str):
        return axes
    if axes is None and node.attributes.get_int("noop_with_empty_axes", 0):
        return _follower((0,)) if rank >= 4 else RANK
    moved = None if axes is None else [_moved(axis, rank) for axis in axes]
    inputs: dict[int, np.ndarray] = {}
    attributes: dict[str, Any] = {}
    if moved is not None and is_arg:
        attributes["axis"] = moved[0]
    elif moved is not None and "axes" in node.attributes:
        attributes["axes"] = moved
    elif moved is not None:
        inputs[1] = np.array(moved, np.int64)
    form = _follower((0,), inputs, **attributes)
    if node.attributes.get_int("keepdims", 1):
        return RANK if _same_rank(node, (0,)) is None else form
    gone = range(rank) if axes is None else [axis % rank for axis in axes]
    remaining = [axis for axis in channels_last(rank) if axis not in gone]
    if rank < 4 or remaining != sorted(remaining):
        return "its answer has other axes in another order"
    return _Form(form.images, form.build, _Side.EITHER, _Side.FIRST)


def _pad(node: ir.Node) -> _Form | str:
    rank, pads, axes = _same_rank(node, (0,)), constant(data_input(node, 1)), _axes(node, 3)
    if rank is None:
        return RANK
    if pads is None or isinstance(axes, str):
        return "its widths are not constant"
    if axes is not None:
        return _follower((0,), {3: np.array([_moved(axis, rank) for axis in axes], np.int64)})
    return _follower((0,), {1: pads.reshape(2, rank)[:, channels_last(rank)].reshape(-1)})


def _slice(node: ir.Node) -> _Form | str:
    rank, axes, starts = _same_rank(node, (0,)), _axes(node, 3), data_input(node, 1)
    if rank is None:
        return RANK
    if isinstance(axes, str):
        return axes
    if axes is None:
        count = starts.shape[0] if starts is not None and _rank(starts) == 1 and starts.shape is not None else None
        if not isinstance(count, int):
            return "its axes are unknown"
        axes = list(range(count))
    return _follower((0,), {3: np.array([_moved(axis, rank) for axis in axes], np.int64)})


def _sizes(node: ir.Node) -> _Form | str:
    """One number a dimension in the second input."""
    rank, sizes = _same_rank(node, (0,)), constant(data_input(node, 1))
    if rank is None:
        return RANK
    if sizes is None or sizes.size != rank:
        return "its sizes are not constant, or fewer than dimensions"
    return _follower((0,), {1: sizes[list(channels_last(rank))]})


def _resize(node: ir.Node) -> _Form | str:
    if _same_rank(node, (0,)) != 4:
        return RANK
    if node.attributes.get_string("mode", "nearest") == "cubic":
        return "cubic interpolation of channels-last images is not what every runtime can do"
    if node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return "it resizes a region alone"
    if "axes" in node.attributes:
        axes = node.attributes.get_ints("axes", ())
        if any(axis % 4 < 2 for axis in axes):
            return "it resizes batch or channels"
        return _follower((0,), axes=[_moved(axis, 4) for axis in axes])
    place = 2 if data_input(node, 3) is None else 3
    numbers = constant(data_input(node, place))
    if numbers is None or numbers.size != 4:
        return "its sizes are not constant"
    x, y = _dims(node.inputs[0]), _dims(node.outputs[0])
    if any(numbers[axis] != 1 if place == 2 else x[axis] != y[axis] for axis in (0, 1)):
        return "it resizes batch or channels"
    return _follower((0,), {place: numbers[list(channels_last(4))]})


# Operators that mean channels by the second axis: their attributes, with what they are where a node has none.
FUNCTIONS: Mapping[str, Mapping[str, int | float | str | Sequence[int]]] = {
    "AveragePool": {"kernel_shape": (), "strides": (), "pads": (), "ceil_mode": 0, "count_include_pad": 0},
    "BatchNormalization": {"epsilon": 1e-5},
    "ConvTranspose": {"strides": (), "pads": (), "dilations": (), "group": 1, "output_padding": (0, 0)},
    "DepthToSpace": {"blocksize": 0, "mode": "DCR"},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    "InstanceNormalization": {"epsilon": 1e-5},
    "LRN": {"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": 0},
    "MaxPool": {"kernel_shape": (), "strides": (), "pads": (), "dilations": (), "ceil_mode": 0},
    "SpaceToDepth": {"blocksize": 0},
}
_TYPES: Mapping[type, str] = {int: "int", float: "float", str: "string"}


def _in_function(node: ir.Node) -> _Form | str:
    if _same_rank(node, (0,)) != 4:
        return "it has not two spatial axes, or their number is unknown"
    if main_output(node) is None or node.attributes.get_int("training_mode", 0):
        return "others than its first answer are used"
    if "output_shape" in node.attributes or not node.attributes.get_int("spatial", 1):
        return "one of its attributes has no form with channels last"
    given: dict[str, Any] = {}
    for name, default in FUNCTIONS[node.op_type].items():
        given[name] = node.attributes[name].value if name in node.attributes else default
    if "pads" in given:
        auto = node.attributes.get_string("auto_pad", "NOTSET")
        window = None if auto != "NOTSET" and is_op(node, "ConvTranspose") else Window.of(node)
        if window is None:
            return "its padding depends on a size that is unknown"
        given |= {"strides": window.strides, "pads": window.pads}
        if auto.startswith("SAME"):
            given["ceil_mode"] = 0  # the padding is as much as the positions need
        if "dilations" in given or (node.graph is not None and node.graph.opset_imports.get("", 0) >= 19):
            given["dilations"] = window.dilations

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        inputs: list[ir.Value | None] = [
            images.get(p, value) for p, value in enumerate(node.inputs) if value is not None
        ]
        attributes = ir.convenience.convert_attributes(given)
        new = call_function(edit.model, _function(node, given, len(inputs), edit.model), inputs, attributes)
        new.name = node.name
        return edit.put(node, new, to_last)

    return _Form((0,), build)


def _function(node: ir.Node, given: Mapping[str, Any], count: int, model: ir.Model) -> ir.Function:
    """The operator between two transposes."""
    names = ["x", *(f"p{place}" for place in range(1, count))]
    attributes = f" <{_passed(given)}>" if given else ""
    body = in_channels_last([f"y = {node.op_type}{attributes} ({', '.join(names)})"], ["x"])
    has_bias = node.op_type == "ConvTranspose" and count > 2
    name = f"{node.op_type}{'_bias' if has_bias else ''}_nhwc"
    return function(name, list(given), names, body, model.opset_imports[""])


def _passed(attributes: Mapping[str, Any]) -> str:
    """Attributes of the function handed on to an operator, in ONNX's text format."""
    return ", ".join(f"{name}: {_TYPES.get(type(value), 'ints')} = @{name}" for name, value in attributes.items())


def _transpose(node: ir.Node) -> _Form | str:
    rank = _rank(node.inputs[0])
    perm = tuple(node.attributes.get_ints("perm", range(rank)[::-1]))
    if perm == channels_last(rank):
        return _Form((0,), lambda _, __, images, ___: [images[0]], _Side.LAST, _Side.FIRST)
    if perm == channels_first(rank):
        return _Form((0,), lambda _, __, images, ___: [images[0]], _Side.FIRST, _Side.LAST)

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        """Axes by their place in x, as it is and as the answer is to be."""
        there = range(rank) if images[0] is node.inputs[0] else channels_last(rank)
        wanted = [perm[axis] for axis in channels_last(rank)] if to_last else perm
        composed = [there.index(axis) for axis in wanted]
        return [images[0]] if composed == [*range(rank)] else edit.again(node, images, to_last, {"perm": composed})

    return _Form((0,), build, _Side.EITHER)


def _reshape(node: ir.Node) -> _Form | str:
    """Reshape, Flatten, Squeeze, Unsqueeze: which keep the order of elements.

    A side whose elements lie in the same order in both layouts can have either one. Otherwise channels may be split
    into groups, or groups joined, as from (N, C, H, W) to (N, g, C / g, H, W): the image moves in both.
    """
    x, y = _dims(node.inputs[0]), _dims(node.outputs[0])
    if not x or not y or _target(x, y) is None:
        return "its sizes are unknown"
    images = (0,) if len(x) >= 4 else ()
    if images and not _keeps_order(x):
        if _splits_channels(x, y):
            return _Form(images, _reshaping(_last_dims(x)))
        if turn := _turn_behind(node):
            return _Form(images, _writing_tokens(turn), _Side.EITHER, _Side.FIRST)
        if weights := _weights_behind(node):
            return _Form(images, _ordering(weights), _Side.EITHER, _Side.FIRST)
        return "it needs the elements in their old order"
    if len(y) >= 4 and _keeps_order(y):
        return _Form(images, _reshaping(x), _Side.EITHER)
    if len(y) >= 4 and (turn := _turn_before(node)):
        return _Form((), _reading_tokens(turn), _Side.EITHER)
    return _Form(images, _reshaping(x), _Side.EITHER, _Side.FIRST)


def _reshaping(read: Sequence[_Dim]) -> _Build:
    """A Reshape of a value of these dimensions to those of the answer."""

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        y = _dims(node.outputs[0])
        return _reshaped(edit, node, images.get(0, node.inputs[0]), read, _last_dims(y) if to_last else y, to_last)

    return build


def _reshaped(
    edit: _Edit, node: ir.Node, x: ir.Value | None, read: Sequence[_Dim], written: Sequence[_Dim], to_last: bool = False
) -> Sequence[ir.Value]:
    target = np.array(_target(read, written), np.int64)
    shape = new_constant(edit.graph, f"{node.outputs[0].name}_shape", target)
    return edit.put(node, ir.Node("", "Reshape", [x, shape], name=node.name), to_last)


def _target(x: Sequence[_Dim], y: Sequence[_Dim]) -> list[int] | None:
    """What a Reshape from x to y is told; None where it cannot be said."""
    sizes = [
        dim if isinstance(dim, int) else 0 if place < len(x) and _equal(x[place], dim) else -1
        for place, dim in enumerate(y)
    ]
    return None if sizes.count(-1) > 1 or 0 in (*x, *y) else sizes


def _equal(a: _Dim, b: _Dim) -> bool:
    return a == b and (isinstance(a, int) or a.value is not None)


def _splits_channels(x: Sequence[_Dim], y: Sequence[_Dim]) -> bool:
    """Whether only axes between batch and image are split or joined."""
    if len(y) < 4 or not all(isinstance(dim, int) for dim in (*x[1:-2], *y[1:-2])):
        return False
    return all(_equal(x[place], y[place]) for place in (0, -2, -1))


def _turn_behind(node: ir.Node) -> ir.Node | None:
    """The Transpose to (N, H W, C) that alone reads (N, C, H W), as in vision transformers."""
    x, y, user = _dims(node.inputs[0]), _dims(node.outputs[0]), sole_user(node.outputs[0])
    if user is None or user.graph is not node.graph or not _turns_tokens(user, x, y):
        return None
    # An image made of the tokens might count on this very Transpose (_turn_before).
    return None if any(_is_image(value) for use in user.outputs[0].uses() for value in use.node.outputs) else user


def _turn_before(node: ir.Node) -> ir.Node | None:
    """The Transpose from tokens (N, H W, C) to (N, C, H W), of which then an image is made."""
    x, y, maker = _dims(node.inputs[0]), _dims(node.outputs[0]), producer(node.inputs[0])
    return maker if maker is not None and _turns_tokens(maker, y, x) else None


def _turns_tokens(node: ir.Node, image: Sequence[_Dim], flat: Sequence[_Dim]) -> bool:
    if not is_op(node, "Transpose") or tuple(node.attributes.get_ints("perm", (2, 1, 0))) != (0, 2, 1):
        return False
    return len(image) == 4 and len(flat) == 3 and all(_equal(image[axis], flat[axis]) for axis in (0, 1))


def _writing_tokens(turn: ir.Node) -> _Build:
    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        n, c, pixels = _dims(node.outputs[0])
        (answer,) = _reshaped(edit, node, images[0], _last_dims(_dims(node.inputs[0])), [n, pixels, c], to_last)
        answer.shape = ir.Shape([n, pixels, c])
        bypass(turn, answer)
        return [answer]

    return build


def _reading_tokens(turn: ir.Node) -> _Build:
    def build(edit: _Edit, node: ir.Node, _: _Images, to_last: bool) -> Sequence[ir.Value]:
        tokens = turn.inputs[0]
        return _reshaped(edit, node, tokens, _dims(tokens), _last_dims(_dims(node.outputs[0])), to_last)

    return build


def _weights_behind(node: ir.Node) -> dict[ir.Node, np.ndarray]:
    """The constant weights of all that read a flattened image; none where one of them needs the elements in order."""
    x, y = _dims(node.inputs[0]), _dims(node.outputs[0])
    flat = node.outputs[0]
    if len(y) != 2 or flat.is_graph_output() or not _equal(x[0], y[0]) or not all(isinstance(d, int) for d in x[1:]):
        return {}
    weights = {}
    for user, place in flat.uses():
        layer, weight = Layer.of(user), data_input(user, 1)
        array = constant(weight)
        if layer is None or weight is None or array is None or array.ndim != 2 or place != 0:
            return {}
        if layer.op not in ("Gemm", "MatMul") or user.attributes.get_int("transA", 0) or user.graph is not node.graph:
            return {}
        if len(weight.uses()) > 1 or weight.is_graph_output():
            return {}  # a copy of it would have to be kept
        weights[user] = array
    return weights


def _ordering(weights: Mapping[ir.Node, np.ndarray]) -> _Build:
    """Has the rows of weights in the order in which the elements of the image now lie."""

    def build(edit: _Edit, node: ir.Node, images: _Images, to_last: bool) -> Sequence[ir.Value]:
        x, y = _dims(node.inputs[0]), _dims(node.outputs[0])
        sizes = [dim for dim in x[1:] if isinstance(dim, int)]
        moved = [axis - 1 for axis in channels_last(len(x))[1:]]
        order = np.arange(prod(sizes)).reshape(sizes).transpose(moved).reshape(-1)
        for user, weight in weights.items():
            rows = 1 if user.attributes.get_int("transB", 0) else 0
            name = f"{node.outputs[0].name}_weight_nhwc"
            user.replace_input_with(1, new_constant(edit.graph, name, weight.take(order, rows)))
        return _reshaped(edit, node, images[0], _last_dims(x), y, to_last)

    return build


ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu Clip
    Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
    LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor""".split()
REDUCTIONS = """
    ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare""".split()

# Operators to what gives their form. Those that are not here keep the layout that they have.
RULES: Mapping[str, _Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(FUNCTIONS, _in_function),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Expand", "Tile"), _sizes),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), _along_axis(-1)),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), _along_axis(1)),
    "Concat": _along_axis(None, all_inputs=True),
    "Gather": _gather,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _along_axis(0),
    "Transpose": _transpose,
}
