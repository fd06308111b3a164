"""The measurement of one whole model in all implementations.

Answers are compared first (``benchmarks.whole_models.implementations``). Then the implementations take turns
(``compiler.measure.sampling``).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import kernels
from benchmarks import models
from benchmarks.whole_models.comparison import rounds_of
from benchmarks.whole_models.implementations import frozen, implementations
from benchmarks.whole_models.stored import how_to_tune
from compiler.measure import levels
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.levels import Bandwidth
from compiler.measure.roofline import Roofline, Rooflines, Traffic
from compiler.measure.sampling import ROUNDS, measure
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

# The models that ``pytest benchmarks --benchmark`` measures with ``--bench-all``, those that it measures by default
# (two convolutional networks, a transformer, and one that takes microseconds), and those that are checked without it.
WHOLE_MODELS = ("resnet50", "mobilenetv2", "efficientnet-lite0", "minilm", "direction-classifier", "mnist-cnn")
SAMPLED_MODELS = ("resnet50", "mobilenetv2", "minilm", "mnist-cnn")
LIGHT_MODELS = ("direction-classifier", "mnist-cnn")


def measure_model(
    name: str, threads: int, records: Path, duration: float, default_only: bool = False
) -> dict[str, Any]:
    """Verifies and times all implementations. The result is plain JSON with seconds per run, by round.

    Args:
        records: the file of tuned schedules, which may be missing.
        default_only: whether to measure default schedules only, even if there are tuned ones.

    Raises:
        WrongAnswerError, RuntimeError, ValueError: as ``benchmarks.whole_models.implementations.implementations``.
    """
    model = frozen(name)
    inputs = models.random_inputs(model, models.MODELS[name].input_shapes)
    found = implementations(model, inputs, threads, None if default_only else records)
    layers, target = found.ours.layers, found.ours.target
    before = _limits(layers, target)
    others = OthersWatch()
    samples = measure({each: partial(run, inputs) for each, run in found.runs.items()}, duration, ROUNDS)
    busy_cores = others.busy_cores()
    limits = before.highest(_limits(layers, target))
    return {
        "model": name,
        "title": models.MODELS[name].title,
        "batch": 1,
        "threads": threads,
        "cpu": kernels.cpu_name(),
        "isa": target.isa,
        "cores_busy_with_others": busy_cores,
        **limits.to_json(),
        "stored": found.stored.to_json(),
        "how_to_tune": None if default_only else how_to_tune(name, threads, records),
        "versions": found.versions,
        "skipped": {**found.skipped, **found.wrong},
        "implementations": {
            each: {
                "difference": found.differences[each],
                "runs": samples[each].latencies.count,
                "secs": rounds_of(samples[each]),
            }
            for each in found.runs
        },
    }


@dataclass(frozen=True)
class Limits:
    """The limits of the CPU for one model.

    Attributes:
        layers: the number of layers.
        peak_gflops: FMA peak of all threads together.
        weights: the bytes of all weights, the level that holds them, and its bandwidth.
        rooflines: of every workload of every layer; a chain has several. Products count by their definition; Winograd's
            algorithms need fewer. Generated code counts as nothing.
    """

    layers: int
    peak_gflops: float
    weights: Traffic
    rooflines: tuple[Roofline, ...]

    @classmethod
    def measured(
        cls, layers: Sequence[Layer], isa: str, threads: int, bandwidth: Bandwidth = levels.bandwidth
    ) -> Limits:
        """Measures the limits of a model that runs over and over."""
        found = Rooflines(isa, layers, bandwidth)
        level = found.weights_level(threads)
        return cls(
            len(layers),
            found.peak_gflops(threads),
            Traffic(found.weight_bytes, bandwidth(level, threads), level),
            tuple(roofline for layer in layers for roofline in found.of(layer, threads)),
        )

    def highest(self, other: Limits) -> Limits:
        """Combines two measurements of the same model, because noise only lowers the limits."""
        return Limits(
            self.layers,
            max(self.peak_gflops, other.peak_gflops),
            max(self.weights, other.weights, key=lambda weights: weights.gbs),
            tuple(one.highest(two) for one, two in zip(self.rooflines, other.rooflines, strict=True)),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "peak_gflops": self.peak_gflops,
            "bandwidth_gbs": self.weights.gbs,
            "weights_level": self.weights.level,
            "roofline_secs": sum(roofline.secs for roofline in self.rooflines),
            "roofline_layers": self.layers,
            "kernel_layers": self.layers,
            "flops": sum(roofline.flops for roofline in self.rooflines),
        }


def _limits(layers: Sequence[Layer], target: Target) -> Limits:
    wait_until_idle()
    return Limits.measured(layers, target.isa, target.num_cores, functools.cache(levels.measured_bandwidth))
