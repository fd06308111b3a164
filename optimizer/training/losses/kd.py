"""The loss of Hinton et al.: Distilling the Knowledge in a Neural Network, 2015."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def kd(logits: torch.Tensor, probabilities: torch.Tensor, temperature: float) -> torch.Tensor:
    """Returns T² KL(teacher ‖ student), the mean over samples, at temperature T.

    Its gradient is T (softmax(logits / T) - probabilities) / samples.

    Args:
        logits: of the student, (samples, classes).
        probabilities: of the teacher at this temperature, of the same shape.
        temperature: T.
    """
    # PyTorch's first argument is the distribution that approximates, its second one the target.
    student = torch.log_softmax(logits / temperature, -1)
    return temperature**2 * F.kl_div(student, probabilities, reduction="batchmean")
