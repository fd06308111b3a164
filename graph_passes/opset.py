"""Raises the opset of a model with onnx's converter, and repairs what it omits."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from graph_passes.base import Remark, every_node
from graph_passes.lazy import ir
from graph_passes.values import constant, graph_of, is_op, new_constant, static_shape

OPSET = 18  # it has LayerNormalization and HardSwish, and axes of reductions are inputs
CLIP_TO_INFINITY = 11  # the first opset whose Clip without bounds keeps infinities
RESIZE_AS_UPSAMPLE = 10  # the last opset in which Resize behaves like Upsample


def quiet() -> None:
    """Keeps warnings of the libraries that rewrite models, which do not concern users, from the terminal."""
    for library in ("onnxscript", "onnx_ir"):
        logging.getLogger(library).addHandler(logging.NullHandler())


def raise_opset(model: ir.Model) -> Iterator[Remark]:
    """Raises the opset to ``OPSET``. Yields a remark with the reason if it stays below."""
    from onnxscript.version_converter import ConvertVersionPass

    quiet()
    before = model.opset_imports.get("", model.opset_imports.get("ai.onnx", OPSET))
    if before >= OPSET:
        return
    if model.functions:
        yield Remark("opset", f"stays at {before}: function bodies are written in it")
        return
    reasons = (_misconverted(node, before) for node in every_node(model))
    reason = next((reason for reason in reasons if reason), None)
    if reason:
        yield Remark("opset", f"stays at {before}: {reason}")
        return
    if before < CLIP_TO_INFINITY:
        _bound_clips(model)
    ConvertVersionPass(OPSET, fallback=True)(model)
    if before <= RESIZE_AS_UPSAMPLE:
        _resize_as_upsample(model)
    if model.opset_imports.get("") != OPSET:
        yield Remark("opset", f"stays at {before}: onnx cannot convert one of the operators")
        return
    _repair_inputs(model)
    # Version 8 of the format is the first that supports this opset.
    model.ir_version = max(model.ir_version or 0, 8)


def _repair_inputs(model: ir.Model) -> None:
    """Repairs what onnx's converter leaves of attributes that became inputs.

    It makes constants of float32 for data of other types, and keeps the value of a Pad whose mode has none. Before
    opset 13, an empty tensor meant an omitted input of Resize.
    """
    for node in every_node(model):
        data = node.inputs[0] if node.inputs else None
        if data is None or not is_op(node, "Clip", "Pad", "Resize"):
            continue
        if is_op(node, "Pad"):
            node.attributes.pop("value", None)
        for index, value in enumerate(node.inputs[1:], 1):
            if is_op(node, "Resize"):
                if 0 in (static_shape(value) or ()):
                    node.replace_input_with(index, None)
                continue
            array = constant(value)
            if array is not None and array.dtype == np.float32 and data.dtype not in (None, ir.DataType.FLOAT):
                cast = array.astype(data.dtype.numpy())
                node.replace_input_with(index, new_constant(graph_of(node), f"{node.outputs[0].name}_{index}", cast))


def _bound_clips(model: ir.Model) -> None:
    """Sets the bounds that Clip had by default: the largest finite numbers, which onnx's converter omits."""
    for node in every_node(model):
        if is_op(node, "Clip"):
            for name, bound in (("min", np.finfo(np.float32).min), ("max", np.finfo(np.float32).max)):
                if name not in node.attributes:
                    node.attributes.add(ir.AttrFloat32(name, float(bound)))


def _misconverted(node: ir.Node, opset: int) -> str | None:
    """Returns why onnx's converter changes the output of ``node``; None if it does not."""
    if opset <= 8 and is_op(node, "Scan"):
        return "onnx's converter removes the batch dimension of inputs of Scan"
    if opset < 13 and is_op(node, "Hardmax"):
        return "onnx's converter ignores that Hardmax flattens its input"
    if (
        opset == RESIZE_AS_UPSAMPLE
        and is_op(node, "Resize")
        and node.attributes.get_string("mode", "nearest") == "nearest"
    ):
        scales = constant(node.inputs[1])
        if scales is None or (scales < 1).any():
            return "Resize to a smaller size rounds up in this opset"
    return None


def _resize_as_upsample(model: ir.Model) -> None:
    """Sets the attributes for the behavior of Upsample and the first Resize, which onnx's converter omits."""
    for node in every_node(model):
        if is_op(node, "Resize"):
            node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
            node.attributes.add(ir.AttrString("nearest_mode", "floor"))
