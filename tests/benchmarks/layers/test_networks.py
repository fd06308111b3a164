"""The topologies are those of the papers: their published sizes say so."""

from __future__ import annotations

from math import prod

import pytest

from benchmarks.layers.networks import NETWORKS
from compiler.workloads.operators.operator import Shape


@pytest.mark.parametrize(
    ("network", "layers", "multiply_adds", "weights"),
    [
        # 53 convolutions and a classifier; He et al. state 3.8e9, and torchvision 4.09e9 and 25.56 M with the biases.
        ("resnet50", 54, 3.858e9, 25.50e6),
        ("resnet50-v1.5", 54, 4.089e9, 25.50e6),
        # Sandler et al. state 300 M and 3.4 M.
        ("mobilenetv2", 53, 300.8e6, 3.470e6),
        # EfficientNet-B0's 0.39e9 with squeeze-and-excitation, which is next to nothing of it; 4.65 M with biases.
        ("efficientnet-lite0", 50, 385.2e6, 4.609e6),
        # 12 layers of 12 · 768², and the pooler; 6 of 12 · 384².
        ("bert-base", 12 * 7 + 1, 11.17e9, 12 * 12 * 768**2 + 768**2),
        ("minilm", 6 * 7 + 1, 1.435e9, 6 * 12 * 384**2 + 384**2),
    ],
)
def test_published_sizes(network: str, layers: int, multiply_adds: float, weights: float) -> None:
    workloads = [workload for _, workload in NETWORKS[network](1) if workload.flops]  # not what memory bounds
    assert len(workloads) == layers
    assert sum(workload.flops for workload in workloads) / 2 == pytest.approx(multiply_adds, rel=1e-3)
    counted = sum(prod(w.input_shapes["weight"]) for w in workloads if "weight" in w.input_shapes)
    assert counted == pytest.approx(weights, rel=1e-3)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_convolution_reads_what_one_before_it_wrote(network: str) -> None:
    written: set[Shape] = {
        (1, 224, 224, 3),
        (1, 56, 56, 64),
    }  # the image, and what ResNet's pooling makes of the first layer
    for name, workload in NETWORKS[network](1):
        if workload.op == "conv2d":
            assert workload.input_shapes["x"] in written, name
            written.add(workload.output_shape)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_batch_multiplies_the_work(network: str) -> None:
    one, eight = (sum(workload.flops for _, workload in NETWORKS[network](batch)) for batch in (1, 8))
    assert eight == 8 * one
