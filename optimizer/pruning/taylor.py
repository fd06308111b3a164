"""The importance of channels by gradients: how much the loss would change without a channel."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch.nn import functional as F

from optimizer.pruning.groups import Groups
from optimizer.pruning.importance import Scores, per_channel
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
    places = {place: module.parameter(place[0]) for place in groups.places}
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
        for (name, axis), parameter in places.items():
            if parameter is None or parameter.grad is None:
                continue
            product = (parameter.detach().double() * parameter.grad.double()).numpy()
            along = product.sum(axis=tuple(other for other in range(product.ndim) if other != axis))
            for change, group in zip(changes, groups.free, strict=True):
                change += per_channel(group, groups.places[name, axis], along)
        for square, change in zip(squares, changes, strict=True):
            square += np.square(change)
    totals = [ranks.total(torch.from_numpy(square)).numpy() for square in squares]
    return tuple(np.sqrt(total / len(batches)) for total in totals)
