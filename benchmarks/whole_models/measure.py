"""The measurement of one whole model in all implementations.

Answers are compared first (``benchmarks.whole_models.implementations``). Then the implementations take turns
(``compiler.measure.sampling``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import kernels
from benchmarks import models
from benchmarks.whole_models.comparison import rounds_of
from benchmarks.whole_models.implementations import frozen, implementations
from benchmarks.whole_models.stored import how_to_tune
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.roofline import Roofline, Traffic
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
    peak, bandwidth = map(max, zip(before, _limits(layers, target), strict=True))  # noise only lowers the limits
    return {
        "model": name,
        "title": models.MODELS[name].title,
        "batch": 1,
        "threads": threads,
        "cpu": kernels.cpu_name(),
        "isa": target.isa,
        "cores_busy_with_others": busy_cores,
        "peak_gflops": peak,
        "bandwidth_gbs": bandwidth,
        **rooflines(layers, threads, peak, bandwidth),
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


def _limits(layers: Sequence[Layer], target: Target) -> tuple[float, float]:
    """Measures the FMA peak in GFLOP/s, and the GB/s of the memory that holds the model's data during repeated runs.

    That is a cache if all weights together with the tensors of the largest layer fit it.
    """
    wait_until_idle()
    weights = sum(array.nbytes for layer in layers for array in layer.weights.values())
    largest = max((workload.bytes for layer in layers for workload in layer.workloads), default=0)
    bandwidth = kernels.memory_bandwidth(target.num_cores, max(1, weights + largest))
    return kernels.peak_gflops(target.isa, target.num_cores), bandwidth


def rooflines(layers: Sequence[Layer], threads: int, peak_gflops: float, bandwidth_gbs: float) -> dict[str, Any]:
    """Returns the sum of the least times of all layers, and what it counts.

    Generated code counts as nothing. Products count by their definition; Winograd's algorithms need fewer.
    """
    counted = [layer for layer in layers if layer.workloads]
    workloads = [workload for layer in counted for workload in layer.workloads]
    limits = [
        Roofline(threads, workload.flops, peak_gflops, (Traffic(workload.bytes, bandwidth_gbs),))
        for workload in workloads
    ]
    return {
        "roofline_secs": sum(roofline.secs for roofline in limits),
        "roofline_layers": len(counted),
        "kernel_layers": len(layers),
        "flops": sum(workload.flops for workload in workloads),
    }
