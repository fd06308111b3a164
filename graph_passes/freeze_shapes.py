"""Replaces dynamic dimensions by numbers and infers all shapes again.

::

    x (N, 3, H, W)  --input_shapes x=(1, 3, 224, 224)-->  x (1, 3, 224, 224); also N = 1, H = W = 224 in other inputs

A leading dimension without a name, or with a name of a batch, becomes ``batch`` if no size is given; a remark reports
it. Weights become plain initializers: graph inputs with a default, Constant nodes, and the output of a ConstantOfShape
of known shape.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import ClassVar

import numpy as np

from graph_passes.base import Pass, Remark, every_node
from graph_passes.lazy import ir
from graph_passes.patterns.window import POOLS, Window
from graph_passes.values import bypass, constant, is_op, new_constant, static_shape

BATCH_NAMES = ("n", "b", "bs")  # and names that begin with "batch"
LARGEST_FILLED = 2**28  # elements
NAMELESS = (None, "", "?", "None", "-1")


@dataclass(frozen=True)
class FreezeShapes(Pass):
    """Raises ValueError if ``input_shapes`` names an unknown input, or a shape does not fit its input."""

    name: ClassVar[str] = "freeze_shapes"
    input_shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    batch: int = field(default=1, metadata={"help": "size of a batch dimension without a given shape"})

    def apply(self, model: ir.Model) -> Iterable[Remark]:
        _plain_initializers(model)
        _mark_dynamic(model.graph)
        sizes = self._given(model.graph)
        remarks = list(self._batches(model.graph, sizes))
        frozen = _freeze(model.graph, sizes)
        if frozen or self.input_shapes:
            _forget_shapes(model)
        _infer(model)
        while _pad_dilated_pooling(model) or _pad_rounded_pooling(model):
            _forget_shapes(model)
            _infer(model)
        return [*remarks, *_still_dynamic(model.graph)]

    def _given(self, graph: ir.Graph) -> dict[tuple[str, int] | str, int]:
        """Returns sizes by dimension name, or by (input, axis) for a dimension without a name."""
        inputs = {str(value.name): value for value in _tensors(graph)}
        sizes: dict[tuple[str, int] | str, int] = {}
        for name, shape in self.input_shapes:
            if name not in inputs:
                raise ValueError(f"a shape is given for {name!r}; the model's inputs are {_listed(graph)}")
            declared = inputs[name].shape
            if any(size < 1 for size in shape):
                raise ValueError(f"shape {_text(shape)} given for {name} has a size below 1")
            if declared is None:
                inputs[name].shape = ir.Shape(shape)
                continue
            if len(declared) != len(shape):
                raise ValueError(
                    f"shape {_text(shape)} given for {name} has {len(shape)} dimensions; the model has {_listed(graph)}"
                )
            for axis, (dim, size) in enumerate(zip(declared, shape, strict=True)):
                if isinstance(dim, int):
                    if dim != size:
                        raise ValueError(
                            f"shape {_text(shape)} given for {name} does not fit: "
                            f"dimension {axis} is {dim} in the model"
                        )
                    continue
                key = dim.value or (name, axis)
                if sizes.setdefault(key, size) != size:
                    raise ValueError(f"dimension {dim.value} is given as {sizes[key]} and as {size}")
        return sizes

    def _batches(self, graph: ir.Graph, sizes: dict[tuple[str, int] | str, int]) -> Iterator[Remark]:
        for value in _tensors(graph):
            first = value.shape[0] if value.shape is not None and len(value.shape) else 0
            if isinstance(first, int):
                continue
            named = first.value
            if named is not None and named.lower() not in BATCH_NAMES and not named.lower().startswith("batch"):
                continue
            key = named or (str(value.name), 0)
            if key not in sizes:
                sizes[key] = self.batch
                yield Remark(f"input {value.name}", f"batch dimension {named or '?'} becomes {self.batch}")


def _tensors(graph: ir.Graph) -> Iterator[ir.Value]:
    """Yields the inputs that are tensors. Elements of a sequence may differ in a dynamic dimension."""
    return (value for value in graph.inputs if isinstance(value.type, ir.TensorType))


def _plain_initializers(model: ir.Model) -> None:
    from onnx_ir.passes import common

    common.RemoveInitializersFromInputsPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    fill_constants(model)
    model.ir_version = max(model.ir_version or 0, 4)  # the first version in which a weight need not be a graph input


def fill_constants(model: ir.Model) -> None:
    """Replaces each ConstantOfShape of known shape by an initializer of at most ``LARGEST_FILLED`` elements."""
    for node in every_node(model):
        dims = constant(node.inputs[0]) if is_op(node, "ConstantOfShape") else None
        if dims is None or node.outputs[0].is_graph_output() or prod(int(dim) for dim in dims) > LARGEST_FILLED:
            continue
        attribute = node.attributes.get("value")
        fill = attribute.as_tensor().numpy().reshape(-1)[0] if attribute else np.float32(0)
        filled = np.broadcast_to(fill, tuple(dims)).copy()
        bypass(node, new_constant(model.graph, f"{node.outputs[0].name}_filled", filled))


def _mark_dynamic(graph: ir.Graph) -> None:
    """Removes placeholder names of dynamic dimensions, such as -1 or "?"."""
    for value in graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape([None if _nameless(dim) else dim for dim in value.shape])


def _nameless(dim: int | ir.SymbolicDim) -> bool:
    return dim < 0 if isinstance(dim, int) else dim.value in NAMELESS


def _freeze(graph: ir.Graph, sizes: dict[tuple[str, int] | str, int]) -> bool:
    """Sets the dimensions of inputs in place. Returns whether any dimension became a number."""
    changed = False
    for value in _tensors(graph):
        if value.shape is None:
            continue
        shape = ir.Shape(value.shape)
        for axis, dim in enumerate(shape):
            if isinstance(dim, int):
                continue
            size = sizes.get(dim.value) if dim.value else sizes.get((str(value.name), axis))
            if size is not None:
                shape[axis] = size
                changed = True
        value.shape = shape
    return changed


def _forget_shapes(model: ir.Model) -> None:
    """Removes shapes that were inferred from dynamic inputs: they are less precise, or contradict the frozen shapes."""
    for node in every_node(model):
        for value in node.outputs:
            if isinstance(value.type, ir.TensorType):
                value.shape = None


def _infer(model: ir.Model) -> None:
    from onnx_ir.passes import common

    ranks = {value: value.shape for value in model.graph.outputs}
    common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for value, shape in ranks.items():
        if value.shape is None:
            value.shape = shape


def _pad_dilated_pooling(model: ir.Model) -> bool:
    """Gives the first dilated pooling with SAME padding explicit pads; returns whether there is one.

    ONNX infers another shape for it than ONNX Runtime computes.
    """
    for node in every_node(model):
        same = node.attributes.get_string("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER")
        if not same or not is_op(node, *POOLS) or set(node.attributes.get_ints("dilations", ())) <= {1}:
            continue
        window = Window.of(node)
        if window is not None:
            window.write(node)
            return True
    return False


def _pad_rounded_pooling(model: ir.Model) -> bool:
    """Gives a pooling with ``ceil_mode`` pads for the same windows without it; returns whether there is one to change.

    Before opset 22, ONNX infers one position too many if the last window begins beyond the image. Runtimes omit it.
    """
    for node in every_node(model):
        if not is_op(node, *POOLS) or not node.attributes.get_int("ceil_mode", 0):
            continue
        window, shape, inferred = Window.of(node), static_shape(node.inputs[0]), static_shape(node.outputs[0])
        explicit = node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        if window is None or shape is None or inferred is None or not explicit or len(shape) != len(window.kernel) + 2:
            continue
        counts = window.rounded_up(shape[2:])
        after = [
            max(pad, (count - 1) * stride + reach - size - before)
            for pad, count, stride, reach, size, before in zip(
                window.after, counts, window.strides, window.reach, shape[2:], window.before, strict=True
            )
        ]
        counted = is_op(node, "AveragePool") and node.attributes.get_int("count_include_pad", 0)
        if counts == inferred[2:] or (counted and tuple(after) != window.after):
            continue
        replace(window, after=tuple(after)).write(node)
        node.attributes.pop("ceil_mode")
        return True
    return False


def _still_dynamic(graph: ir.Graph) -> Iterator[Remark]:
    for value in _tensors(graph):
        names = [dim.value or "?" for dim in value.shape or () if not isinstance(dim, int)]
        if value.shape is None:
            yield Remark(f"input {value.name}", "has no shape; give it one to freeze it")
        if names:
            yield Remark(f"input {value.name}", f"stays dynamic in {', '.join(names)}; give its shape to freeze it")


def _listed(graph: ir.Graph) -> str:
    return ", ".join(f"{value.name} {_text(value.shape or ())}" for value in graph.inputs) or "none"


def _text(shape: Iterable[object]) -> str:
    return "x".join(str(dim).replace("None", "?") for dim in shape) or "scalar"
