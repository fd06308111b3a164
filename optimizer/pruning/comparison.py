"""Measures an original and a pruned model in turns, compiled by us and in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx

from optimizer.pruning.fitting import compiled as compile_model
from optimizer.session import Session

OURS, PEER = "loopwright", "onnxruntime"
SECS = 1.5  # of timed runs of each


def compare(original: onnx.ModelProto, pruned: onnx.ModelProto, threads: int) -> dict[str, tuple[float, float]]:
    """Returns, for each runtime, the median seconds of a run of the original and of the pruned model.

    Raises:
        ValueError: a model has inputs of sizes that vary, or does not run.
        ImportError: a package is missing.
    """
    from compiler.measure.sampling import measure
    from compiler.program.random_inputs import random_inputs

    runs: dict[str, Callable[[], object]] = {}
    for name, model in (("original", original), ("pruned", pruned)):
        ours, peer = compile_model(model, threads), Session(model, threads)
        inputs = random_inputs(ours.inputs)
        runs[f"{OURS} {name}"] = partial(ours.run, inputs)
        runs[f"{PEER} {name}"] = partial(peer, inputs)
    found = {name: samples.latencies.median for name, samples in measure(runs, SECS).items()}
    return {runtime: (found[f"{runtime} original"], found[f"{runtime} pruned"]) for runtime in (OURS, PEER)}
