"""The layers of each group that are measured by default. ``--bench-all`` measures all of them.

A sample spans its group: small and large layers, bound by arithmetic and by memory, of each network, and those that
were slowest relative to oneDNN. It is a table, so that results of different days and machines can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.layers.groups import GROUPS
from benchmarks.layers.shapes import Shape

SAMPLE: Mapping[str, tuple[str, ...]] = {
    "dense": (
        # One row and few rows: bound by reading the weights.
        "resnet50-classifier",
        "efficientnet-squeeze",
        "mlp-batch-4",
        # Transformers, bound by arithmetic.
        "bert-attention",
        "bert-expand",
        # Many rows with a narrow output, and a short reduction.
        "resnet50-56-reduce",
        "mobilenet-56-expand",
        # A square, and sizes that no tile divides.
        "square-512",
        "awkward-primes",
    ),
    "few-bits": (
        "llama-attention-4-bits",
        "llama-attention-8-bits",
        "tinyllama-expand-4-bits",
        "tinyllama-contract-4-bits",
        "tinyllama-attention-4-rows-4-bits",
        "tinyllama-attention-prompt-4-bits",
    ),
    "conv1x1": (
        # Large images: a short reduction with a residual, few channels, the most output per input.
        "resnet50-2a-expand",
        "mobilenetv2-1a-project",
        "mobilenetv2-2a-expand",
        # Between.
        "resnet50-3b-reduce",
        "resnet50-4a-expand",
        "mobilenetv2-4b-expand",
        # Small images: bound by reading the weights.
        "resnet50-v1.5-5a-reduce",
        "resnet50-5b-reduce",
        "mobilenetv2-6b-project",
        "efficientnet-lite0-6a-project",
    ),
    "conv3x3": ("resnet50-2a-3x3", "resnet50-3a-3x3", "resnet50-4a-3x3", "resnet50-5a-3x3"),
    "strided": (
        "resnet50-3a-shortcut",
        "resnet50-4a-reduce",
        "resnet50-5a-shortcut",
        "resnet50-v1.5-3a-3x3",
        "resnet50-v1.5-4a-3x3",
        "resnet50-v1.5-5a-3x3",
    ),
    "first": ("resnet50-stem", "mobilenetv2-stem", "efficientnet-lite0-stem"),
    "depthwise": (
        # 3x3: the largest image, and strides from large to small images.
        "mobilenetv2-1a-depthwise",
        "mobilenetv2-2a-depthwise",
        "mobilenetv2-4a-depthwise",
        # 5x5, from large to small images; 6a has a stride.
        "efficientnet-lite0-3b-depthwise",
        "efficientnet-lite0-6a-depthwise",
        "efficientnet-lite0-6b-depthwise",
    ),
    "transposed": ("unet-1-up", "unet-3-up", "dcgan-32", "dcgan-last", "cyclegan-128", "ppocr-last"),
    "few": (
        # First layers of a small image, of a spectrogram and with a stride.
        "mnist-first",
        "dnsmos-p808-first",
        "basic-pitch-notes",
        # The most arithmetic, and last layers.
        "basic-pitch-harmonics",
        "basic-pitch-onsets",
        "blazeface-scores",
        "espcn-last",
    ),
    "one-axis": (
        "silero-stft",
        "wake-stft",
        "basic-pitch-lowpass",
        "eeg-spindles-dilated",
        "eeg-spindles-down",
        "ppocrv5-rec-480",
        "magika-first",
    ),
    "dense-bf16": (
        "resnet50-classifier-bf16",
        "bert-base-query-bf16",
        "bert-base-feed-in-bf16",
        "minilm-feed-in-bf16",
        "minilm-pooler-bf16",
    ),
    "conv-bf16": (
        "resnet50-stem-bf16",
        "resnet50-2a-expand-bf16",
        "resnet50-3a-3x3-bf16",
        "resnet50-4b-reduce-bf16",
        "resnet50-5a-shortcut-bf16",
        "resnet50-5a-3x3-bf16",
    ),
    "dense-int8": (
        "resnet50-classifier-int8",
        "bert-expand-int8",
        "minilm-attention-int8",
    ),
    "conv1x1-int8": (
        "resnet50-2a-expand-int8",
        "resnet50-4a-expand-int8",
        "mobilenetv2-4b-expand-int8",
    ),
    "attention": ("bert-base-heads", "minilm-heads"),
    "rowwise": (
        "add-3136x256",
        "add-784x512",
        "add-128x768",
        "resnet50-max-pool",
        "resnet50-mean",
        "mobilenetv2-mean",
        "bert-base-softmax",
        "bert-base-norm",
        "minilm-norm",
    ),
}


def sample(group: str) -> list[Shape]:
    """Returns the sampled layers of a group at batch 1, in the order of the group."""
    return [shape for shape in GROUPS[group].shapes(1) if shape.name in SAMPLE[group]]
