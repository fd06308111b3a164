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

# Of language models with 7 and 1.1 billion parameters: Llama 2 and TinyLlama; one token, some, and a prompt.
FEW_BITS: tuple[Shape, ...] = tuple(
    Shape(f"{name}-{bits}-bits", Workload("block_dense", (m, n, k, bits, block)))
    for name, m, n, k, bits, block in (
        ("llama-attention", 1, 4096, 4096, 4, 32),
        ("llama-attention", 1, 4096, 4096, 8, 32),
        ("tinyllama-expand", 1, 5632, 2048, 4, 128),
        ("tinyllama-contract", 1, 2048, 5632, 4, 32),
        ("tinyllama-attention-4-rows", 4, 2048, 2048, 4, 32),
        ("tinyllama-attention-prompt", 64, 2048, 2048, 4, 32),
    )
)

# Convolutions of the census with one input channel or at most eight outputs: first layers of spectrograms and signals,
# and last layers that write masks, scores or colors.
FEW_CHANNELS: tuple[Shape, ...] = (
    Shape("mnist-first", Workload.conv2d(1, 28, 28, 1, 8, 5, padding=2, epilogue=("bias", "relu"))),
    Shape("eeg-seizure-first", Workload.conv2d(1, 100, 300, 1, 20, 5, padding=2, epilogue=("bias", "relu"))),
    Shape("wake-embedding-first", Workload.conv2d(1, 76, 32, 1, 24, 3, padding=(0, 1), epilogue=("bias",))),
    Shape("dnsmos-p808-first", Workload.conv2d(1, 900, 120, 1, 32, 3, padding=1, epilogue=("bias", "relu"))),
    Shape("dnsmos-p835-first", Workload.conv2d(1, 900, 161, 1, 128, 3, padding=1, epilogue=("bias", "relu"))),
    Shape("plcmos-first", Workload.conv2d(1, 400, 257, 1, 32, 3, padding=1, dilation=(2, 1), epilogue=("bias",))),
    Shape("basic-pitch-notes", Workload.conv2d(1, 172, 264, 1, 32, 7, (1, 3), (3, 2), epilogue=("bias", "relu"))),
    Shape(
        "basic-pitch-harmonics", Workload.conv2d(1, 172, 264, 8, 8, (3, 39), padding=(1, 19), epilogue=("bias", "relu"))
    ),
    Shape("basic-pitch-contours", Workload.conv2d(1, 172, 264, 8, 1, 5, padding=2, epilogue=("bias", "sigmoid"))),
    Shape(
        "basic-pitch-scores", Workload.conv2d(1, 172, 88, 32, 1, (7, 3), padding=(3, 1), epilogue=("bias", "sigmoid"))
    ),
    Shape("basic-pitch-onsets", Workload.conv2d(1, 172, 88, 33, 1, 3, padding=1, epilogue=("bias", "sigmoid"))),
    Shape("ppocrv6-det-first", Workload.conv2d(1, 160, 160, 16, 8, 2, padding=(0, 0, 1, 1), epilogue=("bias", "relu"))),
    Shape("isbn-yolo-neck", Workload.conv2d(1, 80, 80, 16, 8, 3, padding=1, epilogue=("bias", "silu"))),
    Shape("isbn-yolo-boxes", Workload.conv2d(1, 40, 40, 64, 3, 1, epilogue=("bias",))),
    Shape("blazeface-scores", Workload.conv2d(1, 48, 48, 48, 1, 1, epilogue=("bias",))),
    Shape("espcn-last", Workload.conv2d(1, 256, 256, 32, 3, 3, padding=1, epilogue=("relu",))),
)
# Convolutions of the census over one axis, which run as images of height or width 1.
ONE_AXIS: tuple[Shape, ...] = (
    Shape("silero-stft", Workload.conv2d(1, 1, 704, 1, 258, (1, 256), (1, 64))),
    Shape("wake-stft", Workload.conv2d(1, 1, 17280, 1, 257, (1, 512), (1, 160))),
    Shape("basic-pitch-octave", Workload.conv2d(1, 1, 44100, 1, 36, (1, 256), (1, 256), epilogue=("bias",))),
    Shape("basic-pitch-lowpass", Workload.conv2d(1, 1, 44098, 1, 1, (1, 256), (1, 2), epilogue=("bias",))),
    Shape(
        "eeg-spindles-first", Workload.conv2d(1, 1, 7504, 16, 128, (1, 3), dilation=(1, 2), epilogue=("bias", "gelu"))
    ),
    Shape(
        "eeg-spindles-dilated",
        Workload.conv2d(1, 1, 8012, 128, 128, (1, 3), dilation=(1, 256), epilogue=("bias", "gelu")),
    ),
    Shape("eeg-spindles-down", Workload.conv2d(1, 1, 7500, 64, 51, (1, 5), (1, 5), epilogue=("bias", "gelu"))),
    Shape("ppocrv5-rec-480", Workload.conv2d(1, 1, 40, 480, 60, (1, 3), padding=(0, 1), epilogue=("bias", "silu"))),
    Shape("ppocrv5-rec-960", Workload.conv2d(1, 1, 40, 960, 60, (1, 3), padding=(0, 1), epilogue=("bias", "silu"))),
    Shape("magika-first", Workload.conv2d(1, 1, 512, 256, 512, (1, 5))),
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
