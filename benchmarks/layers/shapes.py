"""The shapes of the benchmark: the type, and dense shapes beyond those of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.workloads.operators.conv_transpose2d import dims as transposed
from compiler.workloads.workload import Workload


@dataclass(frozen=True)
class Shape:
    """A named workload.

    Attributes:
        occurrences: networks, with the number of times that it occurs in each.
    """

    name: str
    workload: Workload
    occurrences: tuple[tuple[str, int], ...] = ()


def describe(workload: Workload) -> str:
    """Returns a short description of the sizes: ``128x768x768``, ``56x56x64-256 3x3/2``."""
    return workload.operator.notation.describe(workload.sizes)


def _dense(name: str, m: int, n: int, k: int, *epilogue: str) -> Shape:
    return Shape(name, Workload.dense(m, n, k, epilogue=epilogue))


# Of a U-Net, of generators of images, and of text detection.
TRANSPOSED_SHAPES: tuple[Shape, ...] = tuple(
    Shape(name, Workload("conv_transpose2d", sizes, epilogue=epilogue))
    for name, sizes, epilogue in (
        ("unet-1-up", transposed(1, 16, 16, 512, 256, 2, 2), ("bias",)),
        ("unet-2-up", transposed(1, 32, 32, 256, 128, 2, 2), ("bias",)),
        ("unet-3-up", transposed(1, 64, 64, 128, 64, 2, 2), ("bias",)),
        ("unet-4-up", transposed(1, 128, 128, 64, 32, 2, 2), ("bias",)),
        ("dcgan-8", transposed(1, 8, 8, 512, 256, 4, 2, padding=1), ("bias", "relu")),
        ("dcgan-32", transposed(1, 32, 32, 128, 64, 4, 2, padding=1), ("bias", "relu")),
        ("dcgan-last", transposed(1, 64, 64, 64, 3, 4, 2, padding=1), ("tanh",)),
        ("cyclegan-64", transposed(1, 64, 64, 256, 128, 3, 2, padding=1, more=1), ("bias", "relu")),
        ("cyclegan-128", transposed(1, 128, 128, 128, 64, 3, 2, padding=1, more=1), ("bias", "relu")),
        ("ppocr-up", transposed(1, 120, 120, 24, 24, 2, 2), ("bias", "relu")),
        ("ppocr-last", transposed(1, 240, 240, 24, 1, 2, 2), ("bias", "sigmoid")),
    )
)

# m rows of x, n outputs, k inputs. A 1x1 convolution is a dense layer whose rows are the pixels.
DENSE_SHAPES: tuple[Shape, ...] = (
    # Classifiers, one image at a time and a batch.
    _dense("resnet50-classifier", 1, 1000, 2048, "bias"),
    _dense("mobilenet-classifier", 1, 1000, 1280, "bias"),
    _dense("vgg16-fc7", 1, 4096, 4096, "bias", "relu"),
    _dense("efficientnet-squeeze", 1, 48, 1152, "bias"),
    _dense("resnet50-classifier-batch", 16, 1000, 2048, "bias"),
    # Transformers: one token at a time, and a sentence.
    _dense("transformer-token", 1, 4096, 1024, "bias"),
    _dense("bert-pooler", 1, 768, 768, "bias"),
    _dense("bert-attention", 128, 768, 768, "bias"),
    _dense("bert-expand", 128, 3072, 768, "bias"),
    _dense("bert-contract", 128, 768, 3072, "bias"),
    _dense("minilm-attention", 128, 384, 384, "bias"),
    _dense("minilm-expand", 128, 1536, 384, "bias"),
    _dense("minilm-contract", 128, 384, 1536, "bias"),
    # Multi-layer perceptrons at growing batch sizes.
    _dense("mlp-batch-2", 2, 1024, 1024, "bias", "relu"),
    _dense("mlp-batch-4", 4, 1024, 1024, "bias", "relu"),
    _dense("mlp-batch-16", 16, 1024, 1024, "bias", "relu"),
    _dense("mlp-batch-64", 64, 1024, 1024, "bias", "relu"),
    _dense("mnist-mlp", 64, 512, 784, "bias", "relu"),
    # 1x1 convolutions of ResNet-50, one of each resolution and direction.
    _dense("resnet50-56-reduce", 3136, 64, 256, "bias", "relu"),
    _dense("resnet50-56-expand", 3136, 256, 64, "bias"),
    _dense("resnet50-28-reduce", 784, 128, 512, "bias", "relu"),
    _dense("resnet50-14-reduce", 196, 256, 1024, "bias", "relu"),
    _dense("resnet50-14-expand", 196, 1024, 256, "bias"),
    _dense("resnet50-7-reduce", 49, 512, 2048, "bias", "relu"),
    # 1x1 convolutions of MobileNetV2: narrow, so that the reduction or the output fills few registers.
    _dense("mobilenet-56-expand", 3136, 144, 24, "bias"),
    _dense("mobilenet-14-expand", 196, 576, 96, "bias"),
    _dense("mobilenet-7-head", 49, 1280, 320, "bias"),
    # Squares, and sizes that no tile divides.
    _dense("square-512", 512, 512, 512),
    _dense("square-1024", 1024, 1024, 1024),
    _dense("awkward-rows", 17, 1001, 333, "bias"),
    _dense("awkward-primes", 127, 509, 257, "bias"),
    _dense("awkward-thin", 5, 31, 1021, "bias"),
)
