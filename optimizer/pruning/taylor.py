"""The importance of channels by gradients: how much the loss would change without a channel."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch.nn import functional as F

from optimizer.pruning.groups import Groups
from optimizer.pruning.importance import Scores
from optimizer.training.labelled import Labelled
from optimizer.training.prepared import check, classifier
from optimizer.training.ranks import Ranks

BATCH = 16  # samples per gradient


def taylor(model: onnx.ModelProto, groups: Groups, samples: Labelled, ranks: Ranks) -> Scores:
    """Returns the root mean square over batches of what removing a channel changes in the loss, to first order.

    Without a channel, its weights w are 0, which changes the loss by about the sum of w times its gradient (Molchanov
    et al.: Importance Estimation for Neural Network Pruning, CVPR 2019). The sum is over all weights of the group.

    Args:
        model: a classifier, as :func:`optimizer.pruning.prepared.prepared` returns it.
        groups: its groups.
        samples: with labels.
        ranks: processes, each of which computes a part of the batches.

    Raises:
        ValueError: PyTorch does not compute the model, or a label is too large. The message is one line.
    """
    labels = samples.labels
    if labels is None:
        raise ValueError("importance 'taylor' needs data with labels")
    found = classifier(model)
    check(found, samples.at(np.arange(min(2, len(samples)))).arrays)
    module = found.module().eval()  # batch normalizations are folded
    if not list(module.parameters()):
        raise ValueError("importance 'taylor' needs weights of float32")
    places = [
        (p, axis, _owners(groups, roots))
        for (name, axis), roots in groups.places.items()
        if (p := module.parameter(name)) is not None
    ]
    squares = [np.zeros(len(group)) for group in groups.free]
    batches = np.array_split(np.arange(len(samples)), max(1, -(-len(samples) // BATCH)))
    for indices in batches[ranks.rank :: ranks.size]:
        part = samples.at(indices)
        (logits,) = module(part.tensors("cpu"))
        if labels.max() >= logits.shape[1]:
            raise ValueError(f"the model has {logits.shape[1]} classes, but there is a label {labels.max()}")
        module.zero_grad()
        F.cross_entropy(logits, torch.from_numpy(labels[indices])).backward()
        changes = [np.zeros(len(group)) for group in groups.free]
        for parameter, axis, owners in places:
            if parameter.grad is None:
                continue
            product = (parameter.detach().double() * parameter.grad.double()).numpy()
            along = product.sum(axis=tuple(other for other in range(product.ndim) if other != axis))
            for index, channels in owners:
                known = channels >= 0
                changes[index] += np.bincount(channels[known], along[known], len(changes[index]))
        for square, change in zip(squares, changes, strict=True):
            square += np.square(change)
    totals = [ranks.total(torch.from_numpy(square)).numpy() for square in squares]
    return tuple(np.sqrt(total / len(batches)) for total in totals)


def _owners(groups: Groups, roots: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Returns the groups that have places along an axis, with the channel of each place; -1 for those of others."""
    found = []
    for index, group in enumerate(groups.free):
        number = {root: place for place, root in enumerate(group.roots)}
        channels = np.array([number.get(root, -1) for root in roots.tolist()], np.int64)
        if (channels >= 0).any():
            found.append((index, channels))
    return found
