"""What each graph pass is worth: nodes, multiply-adds and latency in ONNX Runtime, its own optimizations switched off.

``python -m benchmarks.ablation [MODEL ...] [--threads 1,2] [--whole] [--json FILE]``

Each row adds one pass to the row above; ``--whole`` measures all passes together. Every model is a process
of its own, bound to its cores, in which all rows run in random order (``benchmarks.sampling``), each checked against
the model as published first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

import graph_passes
import kernels
from benchmarks import models
from benchmarks.comparison import ratio
from benchmarks.sampling import interleaved
from graph_passes.check import EPSILON
from graph_passes.report import amount, columns

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = "as published"
ALL = tuple(a_pass.name for a_pass in graph_passes.DEFAULT_PASSES)
ROWS: Mapping[str, tuple[str, ...]] = {
    PUBLISHED: (),
    "base: shapes and constants": ("freeze_shapes", "fold_constants"),
    "+ batch norm folded": ("freeze_shapes", "fold_constants", "fold_batch_norm"),
    "+ layers fused": ("freeze_shapes", "fold_constants", "fold_batch_norm", "fuse_layers"),
    "+ strides optimized": ALL,
}
WHOLE: Mapping[str, tuple[str, ...]] = {PUBLISHED: (), "all passes": ALL}
SAMPLES = 41
SLICE_SECS = 0.05
LIMIT_SECS = 900
# Largest difference from the model as published, relative to its answer: rounding of folded weights through the layers
# of the deepest network here.
TOLERANCE = 1000 * EPSILON


@dataclass
class Session:
    """A model in ONNX Runtime on fixed inputs: a contender of ``benchmarks.sampling``."""

    model: onnx.ModelProto
    inputs: Mapping[str, np.ndarray]
    threads: int
    implementation: str
    algorithm: str = "direct"

    def __post_init__(self) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads, options.log_severity_level = self.threads, 4
        self._session = ort.InferenceSession(
            self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.model.Clear()  # the session has its own; a network of the size of VGG is here several times

    def run(self) -> np.ndarray:
        return np.asarray(self._session.run(None, dict(self.inputs))[0])

    def time(self, number: int, repeat: int) -> list[float]:
        samples = []
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(number):
                self._session.run(None, self.inputs)
            samples.append((time.perf_counter() - start) / number)
        return samples


def measure(name: str, threads: int, rows: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """One model on one number of threads; raw samples in seconds.

    Raises:
        ArithmeticError: a row answers otherwise than the model as published.
    """
    import onnxruntime as ort

    shapes = models.MODELS[name].input_shapes
    published = models.load(name)
    inputs = models.random_inputs(published, shapes)
    contenders: dict[str, Session] = {}
    costs: dict[str, dict[str, int | None]] = {}
    for row, chosen in rows.items():
        passes = chosen or ("freeze_shapes", "fold_constants")  # for the multiply-adds, which need shapes
        optimized = graph_passes.optimize(published, shapes, passes)
        last = optimized.reports[-1]
        costs[row] = {"nodes": last.nodes_after, "macs": last.macs_after}
        if not chosen:
            costs[row]["nodes"] = optimized.reports[0].nodes_before
        model = optimized.model if chosen else models.load(name)
        contenders[row] = Session(model, inputs, threads, row)
        _check(row, contenders[row].run(), contenders[PUBLISHED].run())
    secs = interleaved(contenders, SAMPLES, SLICE_SECS)
    return {
        "model": name,
        "threads": threads,
        "cpu": kernels.cpu_name(),
        "onnxruntime": ort.__version__,
        "rows": {row: {**costs[row], "secs": secs[row]} for row in rows},
    }


def _check(row: str, answer: np.ndarray, expected: np.ndarray) -> None:
    off = float(np.abs(answer.astype(np.float64) - expected).max() / np.abs(expected.astype(np.float64)).max())
    if not off <= TOLERANCE:
        raise ArithmeticError(f"{row}: differs from the model as published by {off:.3g} of its answer")


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """A line a row of every result; the speed is that of the first row's, with the interval that holds 95 % of its
    bootstrap resamples.
    """
    lines = [["model", "threads", "passes", "nodes", "multiply-adds", "ms", "times as fast"]]
    for result in results:
        rows = result["rows"]
        first = rows[next(iter(rows))]["secs"]
        for name, row in rows.items():
            speed = str(ratio(row["secs"], first)) if row["secs"] is not first else ""
            ms = f"{median(row['secs']) * 1e3:.2f}"
            model, threads = (result["model"], str(result["threads"])) if row["secs"] is first else ("", "")
            lines.append([model, threads, name, str(row["nodes"]), amount(row["macs"]), ms, speed])
    return columns(lines, left=(0, 2, 6))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("models", nargs="*", default=["resnet50"], metavar="MODEL", help=", ".join(models.MODELS))
    parser.add_argument("--threads", type=_counts, default=[1], metavar="N,...", help="default: 1")
    parser.add_argument("--whole", action="store_true", help="as published, and with all passes, alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw samples there")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)  # the process of one model
    arguments = parser.parse_args()
    unknown = [name for name in arguments.models if name not in models.MODELS]
    if unknown:
        parser.error(f"no model {unknown[0]!r}; choose from: {', '.join(models.MODELS)}")
    rows = WHOLE if arguments.whole else ROWS
    usable = sorted(os.sched_getaffinity(0))
    if max(arguments.threads) > len(usable):
        parser.error(f"--threads: at most {len(usable)}, the cores that this process may use")
    if arguments.measure:
        (threads,) = arguments.threads
        os.sched_setaffinity(0, usable[:threads])
        arguments.json.write_text(json.dumps(measure(arguments.models[0], threads, rows)))
        return 0
    for name in arguments.models:
        if reason := models.missing(name):
            parser.error(reason)
    results = []
    for name in arguments.models:
        for threads in arguments.threads:
            results.append(_in_a_process(name, threads, arguments.whole))
            if len(arguments.models) * len(arguments.threads) > 1:
                print(f"{name}, {threads} threads: done", file=sys.stderr, flush=True)
    print(
        f"{results[0]['cpu']}, ONNX Runtime {results[0]['onnxruntime']} without its own optimizations, batch 1, float32"
    )
    print(table(results))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


def _in_a_process(name: str, threads: int, whole: bool) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.ablation", name, "--measure", "--threads", str(threads)]
        command += ["--json", str(out), *(["--whole"] if whole else [])]
        process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_SECS, check=False)
        if process.returncode:
            raise RuntimeError(f"{name}: {process.stderr.strip()}")
        return json.loads(out.read_text())


def _counts(text: str) -> list[int]:
    counts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if min(counts) < 1:
        raise argparse.ArgumentTypeError(f"wants whole numbers of 1 or more such as 1,2; got {text!r}")
    return counts


if __name__ == "__main__":
    sys.exit(main())
