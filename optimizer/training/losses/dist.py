"""The loss of Huang et al.: Knowledge Distillation from A Stronger Teacher, NeurIPS 2022."""

from __future__ import annotations

import torch


def dist(logits: torch.Tensor, probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns T² (2 - r - s): the student may differ from the teacher by a scale and an offset.

    r is the mean correlation over samples of the probabilities of all classes, s the mean over classes of those of all
    samples.

    Args:
        logits: of the student, (samples, classes).
        probabilities: of the teacher at this temperature, of the same shape.
        temperature: T.
    """
    student = torch.softmax(logits / temperature, -1)
    between = 1 - _correlation(student, probabilities).mean()
    if len(logits) == 1:  # one sample has no relations to others
        return temperature**2 * between
    within = 1 - _correlation(student.T, probabilities.T).mean()
    return temperature**2 * (between + within)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Returns Pearson's correlation of each row."""
    a, b = (each - each.mean(-1, keepdim=True) for each in (a, b))
    return torch.cosine_similarity(a, b, dim=-1, eps=1e-8)
