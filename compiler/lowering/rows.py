"""Softmax and layer normalisation of rows, and attention."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, is_float32, shape_of, vector
from compiler.workloads.workload import Workload
from graph_passes.values import data_input, is_op, main_output, producer

_SWAP = [0, 2, 1, 3]  # from (batch, heads, tokens, d) to (batch, tokens, heads, d), and back


def softmax(node: ir.Node) -> Call | None:
    """Over the last axis, which older opsets flatten the axes behind ``axis`` to."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x):
        return None
    opset = 13 if node.graph is None else node.graph.opset_imports.get("", 13)
    axis = node.attributes.get_int("axis", -1 if opset >= 13 else 1) % len(shape)
    columns = prod(shape[axis:])
    if columns != shape[-1] and (opset >= 13 or axis == len(shape) - 1):
        return None
    return Call("softmax", (x,), {"sizes": [prod(shape) // columns, columns]})


def layer_norm(node: ir.Node) -> Call | None:
    """Over the last axis."""
    x, shape = node.inputs[0], shape_of(node.inputs[0])
    if x is None or not shape or not is_float32(x) or main_output(node) is None:
        return None
    n, given = shape[-1], data_input(node, 2)
    gamma = vector(data_input(node, 1), n)
    beta = np.zeros(n, np.float32) if given is None else vector(given, n)
    if node.attributes.get_int("axis", -1) % len(shape) != len(shape) - 1 or gamma is None or beta is None:
        return None
    attributes = {"sizes": [prod(shape) // n, n], "epsilon": node.attributes.get_float("epsilon", 1e-5)}
    return Call("layer_norm", (x,), attributes, {"gamma": gamma, "beta": beta})


def attention(node: ir.Node) -> Call | None:
    """Heads are read where they lie in a projection's rows, and written so: the transpositions around go."""
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
    inputs, layouts = [], {}
    for name, value in zip("qkv", (q, k, v), strict=True):
        source = _before_swap(value)
        layouts[name] = "heads" if source is None else "tokens"
        inputs.append(source or value)
    mask = masks[0] if masks else None
    mask_shape = None
    if mask is not None:
        shape = shape_of(mask)
        mask_shape = [1] * (4 - len(shape)) + list(shape)
        if len(mask_shape) != 4 or mask_shape[3] != keys:  # the kernel reads whole rows of a mask
            return None
        inputs.append(mask)
    workload = Workload.attention(batch, heads, queries, keys, head_dim)
    attributes = {
        "sizes": [batch, heads, queries, keys, head_dim],
        **layouts,
        "out": "tokens",
        "mask": mask_shape,
        "scale": node.attributes.get_float("scale", 1.0),
    }
    return Call("attention", tuple(inputs), attributes, workload=workload, output_perm=tuple(_SWAP))


def _before_swap(value: ir.Value) -> ir.Value | None:
    node = producer(value)
    if node is None or not is_op(node, "Transpose") or list(node.attributes.get_ints("perm", ())) != _SWAP:
        return None
    return node.inputs[0]
