"""The layers of networks, generated from a few lines of topology each.

Batch normalization is folded, and the operators after a layer are its epilogue. Images are 224x224, texts have 128
tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from string import ascii_lowercase
from typing import TypeAlias

from compiler.workloads.workload import Workload

Layers: TypeAlias = Iterator[tuple[str, Workload]]  # (name, workload) in the network's order, repeated ones too

TOKENS = 128


def resnet50(batch: int) -> Layers:
    """ResNet-50 v1 (He et al. 2015), in which the first 1x1 convolution of a block has the stride."""
    return _bottlenecks("resnet50", batch, stride_at_3x3=False)


def resnet50_v1_5(batch: int) -> Layers:
    """ResNet-50 as in torchvision, in which the 3x3 convolution has the stride."""
    return _bottlenecks("resnet50-v1.5", batch, stride_at_3x3=True)


def _bottlenecks(network: str, batch: int, stride_at_3x3: bool) -> Layers:
    relu, add = ("bias", "relu"), ("bias", "residual", "relu")
    conv = Workload.conv2d
    yield f"{network}-stem", conv(batch, 224, 224, 3, 64, 7, 2, 3, epilogue=relu)
    yield f"{network}-max-pool", Workload.max_pool2d((batch, 112, 112, 64), 3, stride=2, padding=1)
    size, channels = 56, 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], start=2):
        for block in range(blocks):
            name = f"{network}-{stage}{ascii_lowercase[block]}"
            stride = 2 if stage > 2 and block == 0 else 1
            first, second = (1, stride) if stride_at_3x3 else (stride, 1)
            inner = size // first
            out = size // stride
            if block == 0:
                yield f"{name}-shortcut", conv(batch, size, size, channels, 4 * width, 1, stride, epilogue=("bias",))
            yield f"{name}-reduce", conv(batch, size, size, channels, width, 1, first, epilogue=relu)
            yield f"{name}-3x3", conv(batch, inner, inner, width, width, 3, second, 1, epilogue=relu)
            yield f"{name}-expand", conv(batch, out, out, width, 4 * width, 1, epilogue=add)
            size, channels = out, 4 * width
    yield f"{network}-mean", Workload.avg_pool2d((batch, size, size, channels), size)
    yield f"{network}-classifier", Workload.dense(batch, 1000, channels, epilogue=("bias",))


# Expansion, channels, blocks, stride of the first block, kernel.
_MOBILENET_V2 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3))
_MOBILENET_V2 += ((6, 96, 3, 1, 3), (6, 160, 3, 2, 3), (6, 320, 1, 1, 3))
_EFFICIENTNET_B0 = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3))
_EFFICIENTNET_B0 += ((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))


def mobilenetv2(batch: int) -> Layers:
    """MobileNetV2 1.0 (Sandler et al. 2018), with equal padding on all sides, as in PyTorch."""
    return _inverted_residuals("mobilenetv2", batch, _MOBILENET_V2, lambda _, kernel, __: kernel // 2)


def efficientnet_lite0(batch: int) -> Layers:
    """EfficientNet-B0 (Tan and Le 2019) without squeeze-and-excitation, with relu6 and TensorFlow's SAME padding."""
    return _inverted_residuals("efficientnet-lite0", batch, _EFFICIENTNET_B0, _same_padding)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Returns TensorFlow's SAME padding: an odd row or column of zeros is added below or to the right."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    return before, before, after, after


def _inverted_residuals(
    network: str,
    batch: int,
    stages: tuple[tuple[int, int, int, int, int], ...],
    padding: Callable[[int, int, int], int | tuple[int, int, int, int]],
) -> Layers:
    """``padding`` is a function of image size, kernel and stride."""
    conv, relu6 = Workload.conv2d, ("bias", "relu6")
    yield f"{network}-stem", conv(batch, 224, 224, 3, 32, 3, 2, padding(224, 3, 2), epilogue=relu6)
    size, channels = 112, 32
    for stage, (expansion, out, blocks, first_stride, kernel) in enumerate(stages, start=1):
        for block in range(blocks):
            name = f"{network}-{stage}{ascii_lowercase[block]}"
            stride = first_stride if block == 0 else 1
            wide = expansion * channels
            if expansion > 1:
                yield f"{name}-expand", conv(batch, size, size, channels, wide, 1, epilogue=relu6)
            pad = padding(size, kernel, stride)
            yield (
                f"{name}-depthwise",
                conv(batch, size, size, wide, wide, kernel, stride, pad, groups=wide, epilogue=relu6),
            )
            size //= stride
            add = ("bias",) if block == 0 else ("bias", "residual")
            yield f"{name}-project", conv(batch, size, size, wide, out, 1, epilogue=add)
            channels = out
    yield f"{network}-head", conv(batch, size, size, channels, 1280, 1, epilogue=relu6)
    yield f"{network}-mean", Workload.avg_pool2d((batch, size, size, 1280), size)
    yield f"{network}-classifier", Workload.dense(batch, 1000, 1280, epilogue=("bias",))


def bert_base(batch: int) -> Layers:
    """BERT-base (Devlin et al. 2018)."""
    return _encoder("bert-base", batch, layers=12, width=768, heads=12)


def minilm(batch: int) -> Layers:
    """MiniLM-L6-H384 (Wang et al. 2020), the encoder of all-MiniLM-L6-v2."""
    return _encoder("minilm", batch, layers=6, width=384, heads=12)


def _encoder(network: str, batch: int, layers: int, width: int, heads: int) -> Layers:
    rows, dense = batch * TOKENS, Workload.dense
    for _ in range(layers):
        for part in ("query", "key", "value"):
            yield f"{network}-{part}", dense(rows, width, width, epilogue=("bias",))
        yield f"{network}-softmax", Workload("softmax", (batch * heads * TOKENS, TOKENS))  # a part of the heads
        yield f"{network}-heads", Workload.attention(batch, heads, TOKENS, TOKENS, width // heads)
        yield f"{network}-output", dense(rows, width, width, epilogue=("bias", "residual"))
        yield f"{network}-norm", Workload("layer_norm", (rows, width))
        yield f"{network}-feed-in", dense(rows, 4 * width, width, epilogue=("bias", "gelu"))
        yield f"{network}-feed-out", dense(rows, width, 4 * width, epilogue=("bias", "residual"))
        yield f"{network}-norm", Workload("layer_norm", (rows, width))
    yield f"{network}-pooler", dense(batch, width, width, epilogue=("bias", "tanh"))


NETWORKS: Mapping[str, Callable[[int], Layers]] = {
    "resnet50": resnet50,
    "resnet50-v1.5": resnet50_v1_5,
    "mobilenetv2": mobilenetv2,
    "efficientnet-lite0": efficientnet_lite0,
    "bert-base": bert_base,
    "minilm": minilm,
}
