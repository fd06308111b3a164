"""One whole model on one number of threads, in our compiler and in other runtimes, every contender in turn.

``python -m benchmarks.whole_models.whole_model MODEL --threads N --json FILE [--records FILE] [--duration S]``

It is a process of its own, bound to its cores (``compiler.measure.isolated``). Answers are compared before anything is timed
(``benchmarks.whole_models.implementations``), and ``compiler.measure.sampling`` tells how contenders are timed. ``--onnx FILE`` writes the
model that all of them get and measures nothing: that file can be tuned.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import kernels
from benchmarks import models
from benchmarks.command import add_measuring, check_model, check_records, exit_code
from benchmarks.whole_models.comparison import compare, rounds_of
from benchmarks.whole_models.implementations import contenders, frozen
from benchmarks.whole_models.own import how_to_tune
from compiler.commands.command_line import Parser, at_least
from compiler.measure import affinity
from compiler.measure.idle import OthersWatch, wait_until_idle
from compiler.measure.roofline import Roofline, Traffic
from compiler.measure.sampling import ROUNDS, measure
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

# What ``pytest benchmarks --benchmark`` measures, and of these what it checks without that option.
WHOLE_MODELS = ("resnet50", "mobilenetv2", "efficientnet-lite0", "minilm", "direction-classifier", "mnist-cnn")
LIGHT_MODELS = ("direction-classifier", "mnist-cnn")


def measure_model(name: str, threads: int, records: Path, duration: float) -> dict[str, Any]:
    """Verifies and times every contender; plain JSON, with seconds a run by the round in which they ran.

    Raises:
        as ``contenders``.
    """
    model = frozen(name)
    inputs = models.random_inputs(model, models.MODELS[name].input_shapes)
    found = contenders(model, inputs, threads, records)
    layers, target = found.ours.layers, found.ours.target
    before = _limits(layers, target)
    others = OthersWatch()
    samples = measure({who: partial(run, inputs) for who, run in found.runs.items()}, duration, ROUNDS)
    busy_cores = others.busy_cores()
    peak, bandwidth = map(max, zip(before, _limits(layers, target), strict=True))  # noise only ever lowers one
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
        **roofline(layers, peak, bandwidth),
        "on_record": found.known.to_json(),
        "how_to_tune": how_to_tune(name, threads, records),
        "versions": found.versions,
        "skipped": {**found.skipped, **found.wrong},
        "contenders": {
            who: {
                "difference": found.differences[who],
                "runs": samples[who].latencies.count,
                "secs": rounds_of(samples[who]),
            }
            for who in found.runs
        },
    }


def _limits(layers: Sequence[Layer], target: Target) -> tuple[float, float]:
    """FMA peak in GFLOP/s, and GB/s of where the model's data is while it runs again and again.

    That is a cache, where all weights together with the largest layer's tensors fit one.
    """
    wait_until_idle()
    weights = sum(array.nbytes for layer in layers for array in layer.weights.values())
    largest = max((workload.bytes for layer in layers for workload in layer.workloads), default=0)
    bandwidth = kernels.memory_bandwidth(target.num_cores, max(1, weights + largest))
    return kernels.peak_gflops(target.isa, target.num_cores), bandwidth


def roofline(layers: Sequence[Layer], peak_gflops: float, bandwidth_gbs: float) -> dict[str, Any]:
    """Returns the sum of the least times of all layers. Generated code counts as nothing.

    Products count by their definition; Winograd's algorithms need fewer.
    """
    counted = [layer for layer in layers if layer.workloads]
    workloads = [workload for layer in counted for workload in layer.workloads]
    rooflines = [
        Roofline(layer.threads, workload.flops, peak_gflops, (Traffic(workload.bytes, bandwidth_gbs),))
        for layer in counted
        for workload in layer.workloads
    ]
    return {
        "roofline_secs": sum(limits.secs for limits in rooflines),
        "roofline_layers": len(counted),
        "kernel_layers": len(layers),
        "flops": sum(workload.flops for workload in workloads),
    }


def main(argv: Sequence[str] | None = None) -> int:
    about = "Measures a whole model in our compiler and in other runtimes."
    parser = Parser(prog="python -m benchmarks.whole_models.whole_model", description=about)
    parser.add_argument("model", metavar="MODEL", choices=models.MODELS, help=f"of {', '.join(models.MODELS)}")
    parser.add_argument("--threads", type=at_least(1), default=1, metavar="N", help="default: 1")
    add_measuring(parser, "contender")
    result = parser.add_mutually_exclusive_group(required=True)
    result.add_argument("--json", type=Path, metavar="FILE", help="file for the result")
    result.add_argument("--onnx", type=Path, metavar="FILE", help="measure nothing; write the model, to tune it")
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    check_model(arguments.model)
    if arguments.onnx:
        arguments.onnx.write_bytes(frozen(arguments.model).SerializeToString())
        return
    check_records(arguments.records)
    cores = affinity.pin(arguments.threads)
    result = {
        **measure_model(arguments.model, arguments.threads, arguments.records, arguments.duration),
        "cores": cores,
    }
    arguments.json.write_text(json.dumps({**result, "summary": compare(result).to_json()}))


if __name__ == "__main__":
    sys.exit(main())
