"""Layers, and other operators with channels on the second axis, become function calls with channels last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from graph_passes.base import DOMAIN
from graph_passes.layout.axes import rank_of, same_rank
from graph_passes.layout.edit import Edit, Form, Images, Side
from graph_passes.lazy import ir
from graph_passes.patterns.group_norm import group_norm_function
from graph_passes.patterns.layers import CONVOLUTIONS, FusedLayer, call, call_function, function, in_channels_last
from graph_passes.patterns.window import Window, explicit_attributes
from graph_passes.values import STANDARD, data_input, main_output

THEN = "_then_"  # between the names of two layers in one call
# Operators that define the second axis as channels: their attributes with default values.
FUNCTIONS: Mapping[str, Mapping[str, int | float | str | Sequence[int]]] = {
    "AveragePool": {"kernel_shape": (), "strides": (), "pads": (), "ceil_mode": 0, "count_include_pad": 0},
    "BatchNormalization": {"epsilon": 1e-5},
    "DepthToSpace": {"blocksize": 0, "mode": "DCR"},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    "InstanceNormalization": {"epsilon": 1e-5},
    "LRN": {"alpha": 1e-4, "beta": 0.75, "bias": 1.0, "size": 0},
    "MaxPool": {"kernel_shape": (), "strides": (), "pads": (), "dilations": (), "ceil_mode": 0},
    "SpaceToDepth": {"blocksize": 0},
}
_TYPES: Mapping[type, str] = {int: "int", float: "float", str: "string"}


def convolutions(node: ir.Node) -> list[FusedLayer]:
    """Returns the convolution layer of a node, or both layers of a fused pair; empty for any other node."""
    names = node.op_type.split(THEN) if node.domain == DOMAIN else []
    layers = [FusedLayer.named(name) for name in names] or [FusedLayer.of(node)]
    found = [layer for layer in layers if layer is not None and layer.op in CONVOLUTIONS]
    return found if len(found) == len(layers) else []


def wants_channels_last(node: ir.Node) -> bool:
    layers = convolutions(node)
    return bool(layers) and not layers[-1].channels_last and rank_of(data_input(node, 1)) == 4


def layer_form(node: ir.Node, layers: Sequence[FusedLayer]) -> Form | str:
    """Convolution layers."""
    images = (0, _residual_place(node, layers)) if layers[-1].residual else (0,)
    if same_rank(node, images) != 4:
        return "it does not have two spatial axes, or their number is unknown"
    attributes = list(node.attributes.values())
    if node.domain in STANDARD:
        found = explicit_attributes(node)
        if found is None:
            return "its padding depends on a size that is unknown"
        attributes = found

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        inputs: list[ir.Value | None] = [
            images.get(p, value) for p, value in enumerate(node.inputs) if value is not None
        ]
        if len(layers) == 1:
            new = call(edit.model, replace(layers[0], channels_last=True), inputs, attributes)
        else:
            new = call_function(edit.model, _around(node, layers, edit.model), inputs, attributes)
        new.name = node.name
        return edit.put(node, new, to_last)

    return Form(images, build, Side.LAST, Side.LAST)


def _residual_place(node: ir.Node, layers: Sequence[FusedLayer]) -> int:
    return layers[0].inputs.index("r") if len(layers) == 1 else len(node.inputs) - 1


def _around(node: ir.Node, layers: Sequence[FusedLayer], model: ir.Model) -> ir.Function:
    """Returns a function with a call of the node's function between transposes."""
    names = [str(value.name) for value in model.functions[node.op_identifier()].inputs]
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    images = ["x", *(["r"] if layers[-1].residual else [])]
    body = in_channels_last([f"y = {DOMAIN}.{node.op_type} <{_passed(given)}> ({', '.join(names)})"], images)
    outer = function(f"{node.op_type}_nhwc", list(given), names, body, model.opset_imports[""])
    outer.opset_imports[DOMAIN] = 1
    return outer


def function_form(node: ir.Node) -> Form | str:
    if same_rank(node, (0,)) != 4:
        return "it does not have two spatial axes, or their number is unknown"
    if main_output(node) is None or node.attributes.get_int("training_mode", 0):
        return "outputs other than the first are used"
    if not node.attributes.get_int("spatial", 1):
        return "one of its attributes has no form with channels last"
    given: dict[str, Any] = {}
    for name, default in FUNCTIONS[node.op_type].items():
        given[name] = node.attributes[name].value if name in node.attributes else default
    if "pads" in given:
        auto = node.attributes.get_string("auto_pad", "NOTSET")
        window = Window.of(node)
        if window is None:
            return "its padding depends on a size that is unknown"
        given |= {"strides": window.strides, "pads": window.pads}
        if auto.startswith("SAME"):
            given["ceil_mode"] = 0  # the padding matches the positions exactly
        if "dilations" in given or (node.graph is not None and node.graph.opset_imports.get("", 0) >= 19):
            given["dilations"] = window.dilations

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        inputs: list[ir.Value | None] = [
            images.get(p, value) for p, value in enumerate(node.inputs) if value is not None
        ]
        attributes = ir.convenience.convert_attributes(given)
        new = call_function(edit.model, _function(node, given, len(inputs), edit.model), inputs, attributes)
        new.name = node.name
        return edit.put(node, new, to_last)

    return Form((0,), build)


def group_norm_form(node: ir.Node) -> Form | str:
    """A call of GroupNormalization."""
    if same_rank(node, (0,)) != 4:
        return "it does not have two spatial axes, or their number is unknown"

    def build(edit: Edit, node: ir.Node, images: Images, to_last: bool) -> Sequence[ir.Value]:
        if not to_last:
            return edit.again(node, images, to_last)
        callee = group_norm_function(edit.model.opset_imports[""], channels_last=True)
        inputs: list[ir.Value | None] = [images[0], *node.inputs[1:]]
        new = call_function(edit.model, callee, inputs, list(node.attributes.values()))
        new.name = node.name
        return edit.put(node, new, to_last)

    return Form((0,), build)


def _function(node: ir.Node, given: Mapping[str, Any], count: int, model: ir.Model) -> ir.Function:
    """Returns a function with the operator between two transposes."""
    names = ["x", *(f"p{place}" for place in range(1, count))]
    attributes = f" <{_passed(given)}>" if given else ""
    body = in_channels_last([f"y = {node.op_type}{attributes} ({', '.join(names)})"], ["x"])
    return function(f"{node.op_type}_nhwc", list(given), names, body, model.opset_imports[""])


def _passed(attributes: Mapping[str, Any]) -> str:
    """Returns attributes that pass the function's attributes to an operator, in ONNX's text format."""
    return ", ".join(f"{name}: {_TYPES.get(type(value), 'ints')} = @{name}" for name, value in attributes.items())
