"""The measurement: a program for all sizes, and one for each size."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import compiler
import kernels
from benchmarks.models import load
from benchmarks.whole_models.comparison import rounds_of
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure
from compiler.workloads.target import Target

NAMES = ("range", "single")
INPUTS: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids")
_BATCHES, _TOKENS = range(1, 9), range(1, 513)
_TOLERANCE = 1e-4  # of outputs near one: both programs have the same layers, but not always the same schedules


def measured(sizes: Sequence[tuple[int, int]], threads: int, duration: float) -> list[dict[str, Any]]:
    """Builds the program for all sizes, then compares and times it at each size. The results are plain JSON.

    Raises:
        ValueError: answers differ.
        RuntimeError: the model is not installed.
    """
    model = load("minilm")
    shapes = dict.fromkeys(INPUTS, (_BATCHES, _TOKENS))
    with TemporaryDirectory() as folder:
        compiler.build(model, shapes, threads=threads).save(Path(folder) / "minilm.lw")
        ranged = compiler.load(Path(folder) / "minilm.lw")
        ranged.run(_inputs(1, 2))  # reads the tables of words, as the first run of any program
        return [_measured(model, ranged, size, threads, duration) for size in sizes]


def _measured(model: Any, ranged: Any, size: tuple[int, int], threads: int, duration: float) -> dict[str, Any]:
    inputs = _inputs(*size)
    start = time.perf_counter()
    answer = ranged.run(inputs)
    first = time.perf_counter() - start
    single = compiler.build(model, dict.fromkeys(INPUTS, size), threads=threads)
    for name, want in single.run(inputs).items():
        difference = float(np.abs(answer[name] - want).max())
        if not difference <= _TOLERANCE:
            raise ValueError(f"at {size[0]}x{size[1]} the answers of {name} differ by {difference:.2g}")
    others = OthersWatch()
    runs = {"range": partial(ranged.run, inputs), "single": partial(single.run, inputs)}
    samples = measure(runs, duration)
    return {
        "size": list(size),
        "threads": threads,
        "cpu": kernels.cpu_name(),
        "isa": Target.from_host(num_cores=threads).isa,
        "versions": {},
        "cores_busy_with_others": others.busy_cores(),
        "first_secs": first,
        "secs": {name: rounds_of(each) for name, each in samples.items()},
    }


def _inputs(batch: int, tokens: int) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1000, 20000, (batch, tokens))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
