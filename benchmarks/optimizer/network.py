"""A small residual network for small images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two convolutions and a sum (He et al.: Deep Residual Learning for Image Recognition, CVPR 2016)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(channels, out, 1, stride) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Network(nn.Module):
    """A convolution of stride 2, one block per width, and a classifier: images (n, 1, h, w) to logits (n, classes)."""

    def __init__(self, widths: tuple[int, ...], classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, widths[0], 5, 2, 2, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        inputs = (widths[0], *widths[:-1])
        self.blocks = nn.Sequential(
            *(Block(a, b, 1 if place == 0 else 2) for place, (a, b) in enumerate(zip(inputs, widths, strict=True)))
        )
        self.last = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.blocks(F.relu(self.norm(self.first(x)))).mean((2, 3)))


def initialized(network: nn.Module, seed: int) -> nn.Module:
    """Returns the network with new random weights, as PyTorch's layers begin."""
    torch.manual_seed(seed)
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return network
