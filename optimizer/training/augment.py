"""Random changes of images, which make more of few samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from optimizer.training.loop import Augment

_MOST_CHANNELS = 4
Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def flip(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors each image left to right with probability 1/2."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def shift(most: int) -> Change:
    """Returns a change that moves each image by up to ``most`` pixels; what is empty has the value of the edge."""

    def change(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, _, height, width = images.shape
        places = torch.randint(-most, most + 1, (n, 2), generator=generator).to(images.device)
        rows = (places[:, :1] + torch.arange(height, device=images.device)).clamp(0, height - 1)
        columns = (places[:, 1:] + torch.arange(width, device=images.device)).clamp(0, width - 1)
        samples = torch.arange(n, device=images.device)[:, None, None]
        return images[samples, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()

    return change


def augment(text: str) -> Augment:
    """Parses changes that are separated by commas: ``flip``, ``shift:N``. They apply to all inputs of
    shape (samples, channels, height, width).

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
            if tensor.ndim == 4 and tensor.shape[3] <= _MOST_CHANNELS < tensor.shape[1]:
                raise ValueError(
                    f"images are changed along the last two axes, but those of {name} seem to be columns and channels"
                )
            for change in changes if tensor.ndim == 4 else ():
                tensor = change(tensor, generator)
            changed[name] = tensor
        return changed

    return apply
