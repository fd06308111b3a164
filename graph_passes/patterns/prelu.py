"""PRelus with one slope, or one per channel."""

from __future__ import annotations

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import constant, is_op


def slopes_of_channels(node: ir.Node, x: ir.Value, axis: int) -> np.ndarray | None:
    """Returns the slopes of a PRelu of ``x``: one number, or one for each element of an axis.

    None if the node is not such a PRelu, or its slopes are not constants of float32.
    """
    if not is_op(node, "PRelu") or node.inputs[0] is not x or x.shape is None:
        return None
    slopes, rank = constant(node.inputs[1]), len(x.shape)
    if slopes is None or slopes.dtype != np.float32 or slopes.ndim > rank:
        return None
    sizes = (1,) * (rank - slopes.ndim) + slopes.shape
    return slopes if slopes.size in (1, sizes[axis]) else None
