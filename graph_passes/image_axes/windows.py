"""Convolutions and poolings over one axis, which become those over two axes with a window of height 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graph_passes.image_axes.edit import Edit, Outputs, keeps_rank
from graph_passes.image_axes.lifting import Lifting
from graph_passes.layout.axes import rank_of
from graph_passes.lazy import ir
from graph_passes.values import constant, data_input, new_constant

# What the window has along the new axis, for each attribute with one number per axis.
_ALONG_NEW: Mapping[str, int] = {
    "kernel_shape": 1,
    "strides": 1,
    "dilations": 1,
    "output_padding": 0,
    "output_shape": 1,
}


def window_of_one_axis(edit: Edit, node: ir.Node, lifting: Lifting) -> Outputs | None:
    """``Conv``, ``ConvTranspose`` and poolings."""
    x = node.inputs[0]
    attributes = _attributes(node)
    if x is None or attributes is None or not keeps_rank(node, lifting):
        return None
    inputs: list[ir.Value | None] = [edit.lifted(x), *node.inputs[1:]]
    weight = data_input(node, 1)
    if weight is not None:
        if rank_of(weight) != lifting.rank:
            return None
        inputs[1] = _with_height(edit, weight)
    return Outputs(edit.again(node, lifting, inputs, attributes))


def _attributes(node: ir.Node) -> dict[str, Any] | None:
    """Returns the attributes that change; None if one of them has another length than expected."""
    changed: dict[str, Any] = {}
    for name, number in _ALONG_NEW.items():
        given = node.attributes.get_ints(name, ())
        if len(given) > 1:
            return None
        if given:
            changed[name] = [number, *given]
    pads = node.attributes.get_ints("pads", ())
    if pads:
        if len(pads) != 2:
            return None
        changed["pads"] = [0, pads[0], 0, pads[1]]
    return changed


def _with_height(edit: Edit, weight: ir.Value) -> ir.Value:
    """Returns a weight (o, c, k) as (o, c, 1, k)."""
    array = constant(weight)
    if array is not None:
        return new_constant(edit.graph, f"{weight.name}_2d", array[:, :, None, :])
    o, c, k = weight.shape or (None, None, None)
    return edit.op("Unsqueeze", [weight, edit.ints("axes", [2])], like=weight, dims=[o, c, 1, k])
