"""What pruning and quantization gain on the topology of ResNet-50, in the modes of published tables.

``python -m benchmarks.optimizer.resnet50 [--threads N] [--duration S] [--rounds N] [--json FILE]``

ResNet-50 v1 has random weights, since no package has trained ones: this is about speed alone. It is pruned by 72.8 % of
its parameters, which are 72.4 % of its multiply-adds, and by 32 %, and quantized. Each model runs in our runtime, ONNX
Runtime and OpenVINO: in LoadGen's SingleStream (90th percentile), one request after the other on all threads
(``sync``), and with a stream of one thread per core (``async``), as OpenVINO's benchmark_app defines latency and FPS.
In sync and async all models and runtimes take turns; LoadGen runs them one after the other, so it goes around several
times, and the median counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.commands.command_line import Parser, add_version, at_least, check_file, exit_code, seconds
from compiler.commands.output import print_table, write_json
from compiler.installation import extras
from compiler.measure import affinity
from compiler.runtimes.base import version

if TYPE_CHECKING:
    import onnx

    from compiler.measure.throughput import Stream

RATIOS = {"pruned": 0.728, "pruned by 32 %": 0.32}  # of the parameters
OURS, PEERS = "loopwright", ("onnxruntime", "openvino")
FLOAT, INTEGER = "FP32", "INT8"
CALIBRATION = 8  # random images
Key = tuple[str, str]  # a model, and a runtime


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.optimizer.resnet50", description="Prunes and quantizes ResNet-50.")
    add_version(parser)
    add = parser.add_argument
    add("--threads", type=at_least(1), default=2, metavar="N", help="of sync; the streams of async (default: 2)")
    add("--duration", type=seconds, default=10.0, metavar="S", help="of each model in each mode (default: 10)")
    add("--rounds", type=at_least(1), default=3, metavar="N", help="of LoadGen (default: 3)")
    add("--json", type=Path, metavar="FILE", help="write the results to FILE")
    arguments = parser.parse_args(argv)
    return exit_code(parser, partial(_work, arguments))


def _work(arguments: argparse.Namespace) -> int:
    extras.require("LoadGen", "loadgen")
    if missing := [name for name in PEERS if not version(name)]:
        raise ValueError(f"missing: {', '.join(missing)}; pip install {' '.join(missing)}")
    check_file(arguments.json)
    import kernels

    print(f"{kernels.cpu_name()}; threads or streams: {arguments.threads}; one image at once", flush=True)
    models = _models()
    found = {
        "sync": _rates(models, 1, arguments.threads, arguments.duration),
        "async": _rates(models, arguments.threads, 1, arguments.duration),
        "SingleStream": _single_stream(models, arguments.threads, arguments.duration, arguments.rounds),
    }
    for title, rows in found.items():
        _print(title, rows)
    rows = [
        {"mode": mode, "model": m, "runtime": r} | row for mode, rows in found.items() for (m, r), row in rows.items()
    ]
    write_json(arguments.json, {"cpu": kernels.cpu_name(), "threads": arguments.threads, "rows": rows})
    return 0


def _models() -> dict[str, onnx.ModelProto]:
    from benchmarks.models.light import resnet50
    from optimizer import prune, quantize
    from optimizer.pruning.prepared import prepared

    original = resnet50()
    floats = {"": prepared(original)}
    for name, ratio in RATIOS.items():
        floats[name] = prune(original, ratio=ratio, cost="macs").apply(original)
    images = np.random.default_rng(0).standard_normal((CALIBRATION, 3, 224, 224)).astype(np.float32)
    found = {}
    for name, model in floats.items():
        found[f"{name} {FLOAT}".strip()] = model
        found[f"{name} {INTEGER}".strip()] = quantize(model, {model.graph.input[0].name: images}).model
        print(f"{name or 'original'}: {model.ByteSize() / 2**20:.1f} MiB", flush=True)
    return found


def _streams(models: Mapping[str, onnx.ModelProto], count: int, threads: int) -> dict[Key, list[Stream]]:
    """Loads each model into each runtime; our answers are compared with those of the others.

    Raises:
        RuntimeError: answers differ.
    """
    import compiler
    from compiler import runtimes
    from compiler.measure.answers import agree
    from compiler.measure.throughput import Stream
    from compiler.program.random_inputs import random_inputs
    from compiler.runtimes import streams

    found: dict[Key, list[Stream]] = {}
    for name, model in models.items():
        program = compiler.build(model, threads=threads)
        inputs = random_inputs(program.inputs)
        places = [(core,) for core in affinity.cores(count)] if count > 1 else [()]
        ours = streams.of(program, places) if count > 1 else [program.run]
        expected = ours[0](inputs)
        runs: dict[str, list[Callable[..., Any]]] = {OURS: ours}
        for peer in PEERS:
            if count > 1:
                runs[peer] = list(streams.load(peer, model, count, threads))
            else:
                runs[peer] = [runtimes.load(peer, model, threads).run]
            difference = agree(expected, runs[peer][0](inputs))
            print(f"{name}: {peer} differs by {difference:.1e} of the largest answer", flush=True)
        for runtime, each in runs.items():
            found[name, runtime] = [
                Stream(partial(run, inputs), place if runtime == OURS else ())
                for run, place in zip(each, places if len(each) == len(places) else [()] * len(each), strict=True)
            ]
    return found


def _rates(
    models: Mapping[str, onnx.ModelProto], count: int, threads: int, duration: float
) -> dict[Key, dict[str, float]]:
    """Returns milliseconds (median) and FPS of each; all take turns."""
    from compiler.measure.sampling import ROUNDS
    from compiler.measure.throughput import measure, summary

    streams = _streams(models, count, threads)
    keys = {str(key): key for key in streams}
    slices = measure({name: streams[key] for name, key in keys.items()}, duration, ROUNDS, None, None)
    found = {}
    for name, key in keys.items():
        each = summary(slices[name])
        found[key] = {"ms": each.median * 1e3, "fps": each.rate}
    return found


def _single_stream(
    models: Mapping[str, onnx.ModelProto], threads: int, duration: float, rounds: int
) -> dict[Key, dict[str, float]]:
    """Returns LoadGen's milliseconds at the 90th percentile: the median of the rounds."""
    from compiler.measure import loadgen
    from compiler.measure.idle import wait_until_idle

    streams = _streams(models, 1, threads)
    found: dict[Key, list[float]] = {key: [] for key in streams}
    for _ in range(rounds):
        for key, each in streams.items():
            wait_until_idle()
            with tempfile.TemporaryDirectory() as folder:
                trial = loadgen.run("SingleStream", each, duration / rounds, 0.0, 0.0, Path(folder))
            found[key].append(trial.metric * 1e-6)
    return {key: {"ms": statistics.median(each)} for key, each in found.items()}


def _print(title: str, rows: Mapping[Key, Mapping[str, float]]) -> None:
    print(f"\n{title}")
    has_rate = "fps" in next(iter(rows.values()))
    head = ("model", "runtime", "ms", *(["FPS"] if has_rate else []), "over its FP32", "over OpenVINO's FP32")
    # In async, what counts is the rate; else it is the latency.
    value = (lambda row: row["fps"]) if has_rate else (lambda row: 1 / row["ms"])
    table = []
    for (model, runtime), row in rows.items():
        cells = [f"{row['ms']:.2f}", *([f"{row['fps']:.1f}"] if has_rate else [])]
        bases = (rows[FLOAT, runtime], rows[FLOAT, "openvino"])
        table.append((model, runtime, *cells, *(f"{value(row) / value(base):.2f}" for base in bases)))
    print_table(head, table, left=(0, 1))


if __name__ == "__main__":
    sys.exit(main())
