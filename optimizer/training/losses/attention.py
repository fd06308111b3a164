"""The loss of Zagoruyko, Komodakis: Paying More Attention to Attention, ICLR 2017, of activations.

A map says where in an image, or at which tokens, a tensor is large. It does not depend on the number of channels, so a
pruned student and its teacher need no further weights to be compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def attention(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the mean over samples of the squared distance between both maps, each of length 1.

    Args:
        student, teacher: (samples, channels, height, width) or (samples, tokens, channels); channels may differ.

    Raises:
        ValueError: their shapes do not fit; the message is one line.
    """
    one, other = _map(student), _map(teacher)
    if one.shape != other.shape:
        raise ValueError(
            f"features of the student have shape {tuple(student.shape)}, those of a teacher {tuple(teacher.shape)}"
        )
    return (one - other).square().sum(1).mean()


def mean_attention(student: Sequence[torch.Tensor], teachers: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Returns the mean of :func:`attention` over features and teachers; each teacher has the student's features."""
    found = [attention(one, other) for each in teachers for one, other in zip(student, each, strict=True)]
    return torch.stack(found).mean()


def _map(values: torch.Tensor) -> torch.Tensor:
    """Returns the mean square over channels, (samples, positions), in length 1."""
    if values.ndim not in (3, 4):
        raise ValueError(
            "features must have shape (samples, channels, height, width) or (samples, tokens, channels), "
            f"got {tuple(values.shape)}"
        )
    squares = values.square().mean(1 if values.ndim == 4 else 2)
    return torch.nn.functional.normalize(squares.flatten(1), dim=1)
