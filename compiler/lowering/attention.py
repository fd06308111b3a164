"""Recognizes attention: scaled dot-product attention, with or without a mask."""

from __future__ import annotations

import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of
from compiler.workloads.workload import Workload
from graph_passes.values import is_op, producer

# From (batch, tokens, heads, d) to (batch, heads, tokens, d); its own inverse.
_SPLIT_HEADS = [0, 2, 1, 3]


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of an attention function of ``graph_passes``.

    The kernel reads q, k and v as (batch, tokens, heads, d) or (batch, heads, tokens, d) and writes (batch, tokens,
    heads, d), which is the layout of the rows of a projection. So it reads the input of a Transpose that splits heads.
    """
    values = [required for required in node.inputs if required is not None]
    if len(values) != len(node.inputs) or not is_float32(*values):
        return None
    q, k, v, *masks = values
    if any(len(shape_of(value)) != 4 for value in (q, k, v)):
        return None
    batch, heads, queries, head_dim = shape_of(q)
    keys = shape_of(k)[2]
    if shape_of(k) != (batch, heads, keys, head_dim) or shape_of(v) != (batch, heads, keys, head_dim):
        return None
    if shape_of(node.outputs[0]) != (batch, heads, queries, head_dim):
        return None
    inputs, layouts = [], {}
    for name, value in zip("qkv", (q, k, v), strict=True):
        source = _before_transpose(value)
        layouts[name] = "heads" if source is None else "tokens"
        inputs.append(source or value)
    mask = masks[0] if masks else None
    mask_shape = None
    if mask is not None:
        shape = shape_of(mask)
        mask_shape = [1] * (4 - len(shape)) + list(shape)
        whole = (batch, heads, queries, keys)
        # The kernel reads entire rows of a mask.
        if not shape or len(mask_shape) != 4 or mask_shape[3] != keys:
            return None
        if any(size not in (1, full) for size, full in zip(mask_shape, whole, strict=True)):  # it widens the output
            return None
        inputs.append(mask)
    workload = Workload.attention(batch, heads, queries, keys, head_dim)
    attributes = {
        "sizes": [batch, heads, queries, keys, head_dim],
        **layouts,
        "out": "tokens",
        "mask": mask_shape,
        "scale": node.attributes.get_float("scale", 1.0),
        "or_zero": node.op_type.endswith("_or_zero"),
    }
    return Call("attention", tuple(inputs), attributes, workload=workload, output_perm=tuple(_SPLIT_HEADS))


def _before_transpose(value: ir.Value) -> ir.Value | None:
    node = producer(value)
    if node is None or not is_op(node, "Transpose") or list(node.attributes.get_ints("perm", ())) != _SPLIT_HEADS:
        return None
    return node.inputs[0]
