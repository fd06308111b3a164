"""Random changes of images, which make more of few samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch.nn import functional as F

from optimizer.training.loop import Augment

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors each image left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def shift(most: int) -> Change:
    """Returns a change that moves each image by up to ``most`` pixels; what is empty has the value of the edge."""

    def change(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, _, height, width = images.shape
        wide = F.pad(images, (most,) * 4, mode="replicate")
        places = torch.randint(0, 2 * most + 1, (n, 2), generator=generator).to(images.device)
        rows = places[:, :1] + torch.arange(height, device=images.device)
        columns = places[:, 1:] + torch.arange(width, device=images.device)
        samples = torch.arange(n, device=images.device)
        return wide[samples[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return change


def augment(text: str) -> Augment:
    """Parses changes that are separated by commas: ``flip``, ``shift:N``. They apply to all inputs of rank 4.

    Raises:
        ValueError: an unknown change; the message is one line.
    """
    changes: list[Change] = []
    for part in text.split(","):
        name, _, number = part.strip().partition(":")
        if name == "flip" and not number:
            changes.append(flip)
        elif name == "shift" and number.isascii() and number.isdigit() and 1 <= int(number) <= 1024:
            changes.append(shift(int(number)))
        else:
            raise ValueError(f"unknown change of images {part.strip()!r}; choose from: flip, shift:N")
    return _all(changes)


def _all(changes: Sequence[Change]) -> Augment:
    def apply(inputs: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
        changed = {}
        for name, tensor in inputs.items():
            for change in changes if tensor.ndim == 4 else ():
                tensor = change(tensor, generator)
            changed[name] = tensor
        return changed

    return apply
