"""What several teachers say together."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def soft_targets(
    logits: Sequence[torch.Tensor], temperature: float, weights: str, labels: torch.Tensor | None
) -> torch.Tensor:
    """Returns the weighted mean of the teachers' probabilities at a temperature, (samples, classes).

    The mean is of probabilities, not of logits: those of a teacher with larger logits would count more.

    Args:
        logits: of each teacher, (samples, classes).
        temperature: above 0.
        weights: a key of :data:`optimizer.distill.WEIGHTS`.
        labels: (samples,), for ``confidence``.
    """
    probabilities = torch.stack([torch.softmax(each / temperature, -1) for each in logits])
    if weights == "mean":
        return probabilities.mean(0)
    if labels is None:
        raise ValueError("weights by confidence need labels")
    right = torch.stack([torch.softmax(each, -1) for each in logits])
    right = right.gather(2, labels.expand(len(logits), -1).unsqueeze(2)).squeeze(2)
    share = right / right.sum(0).clamp_min(1e-12)
    return (share.unsqueeze(2) * probabilities).sum(0) + (1 - share.sum(0)).unsqueeze(1) * probabilities.mean(0)
