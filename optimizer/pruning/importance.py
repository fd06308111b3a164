"""Importance of channels: what is lost when a channel is removed, as one number per channel of each group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import numpy_helper

from optimizer.graphs import attributes_of
from optimizer.pruning.groups import Group, Groups
from optimizer.pruning.widths import LAYERS, is_depthwise, weight_axes

Scores = tuple[np.ndarray, ...]  # one array per free group, in the order of its channels


def magnitude(model: onnx.ModelProto, groups: Groups) -> Scores:
    """Returns the share that a channel has in the squares of a weight, summed over the weights of its group.

    Weights are those that make a channel, those that read it, and depthwise ones between: the group norm of Fang et
    al.: DepGraph: Towards Any Structural Pruning, CVPR 2023. Their torch-pruning divides it by the mean of the group.
    Here each weight is divided by its own sum, so a channel that many layers share, as in residual sums, counts in all
    of them.
    """
    squares: dict[tuple[str, int], np.ndarray] = {}
    for tensor in model.graph.initializer:
        for name, axis in groups.places:
            if name == tensor.name and len(tensor.dims) > 1:
                squares[name, axis] = _squares(numpy_helper.to_array(tensor), axis)
    found = []
    for group in groups.free:
        score = np.zeros(len(group))
        for place, values in squares.items():
            if (total := values.sum()) != 0:
                score += per_channel(group, groups.places[place], values / total)
        found.append(score)
    return tuple(found)


def random(groups: Groups, seed: int) -> Scores:
    """Returns uniform random scores, with a sum of about 1 for each group: a baseline."""
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(0, 2, len(group)) / len(group) for group in groups.free)


def of_activations(model: onnx.ModelProto, groups: Groups, powers: Mapping[str, np.ndarray]) -> Scores:
    """Returns the share that a channel has in the power of what the layers that read it compute, summed over them.

    A layer sums products of its inputs and weights. If channels were independent, of mean 0, the power of the sum would
    be the sum over channels of the mean square of the channel times the squares of the weights that read it. For one
    layer, this is the square of Wanda's metric, summed over outputs (Sun et al.: A Simple and Effective Pruning
    Approach for Large Language Models, ICLR 2024).

    Args:
        powers: for tensors of ``groups.reads``, the mean square of each place along the axis of the channels.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    scores = [np.zeros(len(group)) for group in groups.free]
    for node in model.graph.node:
        if len(node.input) < 2 or node.input[0] not in powers or node.op_type not in LAYERS:
            continue
        attributes = attributes_of(node)
        axis, _ = weight_axes(node.op_type, attributes)
        roots = groups.reads[node.input[0]][1]
        if (node.input[1], axis) not in groups.places or is_depthwise(
            node.op_type, attributes, tensors[node.input[1]].dims
        ):
            continue  # a depthwise convolution passes the channels on to what reads them
        weight = numpy_helper.to_array(tensors[node.input[1]])
        if axis == 1 and (group := attributes.get("group", 1)) > 1:  # each group has its own inputs
            squares = np.concatenate([_squares(part, axis) for part in np.split(weight, group)])
        else:
            squares = _squares(weight, axis)
        share = powers[node.input[0]] * squares
        if (total := share.sum()) != 0:
            for score, group in zip(scores, groups.free, strict=True):
                score += per_channel(group, roots, share / total)
    return tuple(scores)


def per_channel(group: Group, roots: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns the sum of the values at the places of each channel of a group; ``roots`` are the sets of the places."""
    index = {root: place for place, root in enumerate(group.roots)}
    places = np.array([index.get(root, len(group)) for root in roots.tolist()])
    return np.bincount(places, values, len(group) + 1)[: len(group)]


def _squares(weight: np.ndarray, axis: int) -> np.ndarray:
    wide = np.square(weight, dtype=np.float64)
    return wide.sum(axis=tuple(other for other in range(wide.ndim) if other != axis))
