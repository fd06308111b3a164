"""Blocks of channels, which lie along several axes of a tensor.

A tensor stays a rectangle if it loses all channels at a place along one axis: a block of heads and of the channels in
each of them loses whole heads, or the same channels of all heads. What the model computes may require one of these:
products of queries and keys join the channels of a head. Where it leaves the choice, the axis with more sets is taken.
"""

from __future__ import annotations

import numpy as np

from optimizer.pruning.channels import Channels
from optimizer.pruning.trace import Trace


def settle(trace: Trace) -> None:
    """Joins channels of each block until removing any sets leaves a rectangle."""
    channels = trace.channels
    # Blocks that must keep places have fewer axes to choose from, so they are first.
    blocks = sorted(trace.blocks, key=lambda block: -len(block[1]))
    changed = True
    while changed:
        changed = False
        for block, whole in blocks:
            roots = channels.roots(block)
            distinct = len(np.unique(roots))
            if distinct == 1 or all(channels.reason(root) is not None for root in np.unique(roots).tolist()):
                continue
            rows = {
                axis: np.moveaxis(roots, axis, 0).reshape(size, -1)
                for axis, size in enumerate(roots.shape)
                if axis not in whole
            }
            counts = {axis: _separate(found) for axis, found in rows.items()}
            axis = max(counts, key=lambda each: counts[each], default=None)
            if axis is None:
                channels.fix(block, "all places along its axes must stay")
                continue
            if counts[axis] < distinct:
                channels.join(rows[axis], np.broadcast_to(rows[axis][:, :1], rows[axis].shape))
                changed = True


def _separate(rows: np.ndarray) -> int:
    """Returns the number of sets if the channels of each row were one."""
    joined = Channels()
    numbers, places = np.unique(rows, return_inverse=True)
    found = joined.new(len(numbers), "")[places.reshape(rows.shape)]
    joined.join(found, np.broadcast_to(found[:, :1], found.shape))
    return len(np.unique(joined.roots(found)))
