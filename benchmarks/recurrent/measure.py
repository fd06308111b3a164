"""The measurement of one layer in both runtimes, which take turns."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import kernels
from benchmarks.recurrent.layers import copies_beyond_caches, model
from benchmarks.whole_models.comparison import rounds_of
from compiler import runtimes
from compiler.measure.idle import OthersWatch
from compiler.measure.sampling import measure
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

RUNTIMES = ("loopwright", "onnxruntime")
_TOLERANCE = 1e-4  # of outputs near one


def measure_layer(workload: Workload, threads: int, cold: bool, duration: float) -> dict[str, Any]:
    """Compares the answers, then times both. The result is plain JSON, with seconds per layer by round.

    Args:
        cold: whether the weights come from memory: copies of the layer with other weights run one after the other.

    Raises:
        ValueError: the answers differ.
    """
    copies = copies_beyond_caches(workload) if cold else 1
    proto = model(workload, copies)
    x = np.random.default_rng(1).standard_normal(workload.input_shapes["x"], np.float32)
    loaded = {name: runtimes.load(name, proto, threads) for name in RUNTIMES}
    answers = {name: runtime.run({"x": x}) for name, runtime in loaded.items()}
    for output, want in answers["onnxruntime"].items():
        difference = float(np.abs(answers["loopwright"][output] - want).max())
        if not difference <= _TOLERANCE * copies:
            raise ValueError(f"{workload}: {output} differs from ONNX Runtime's by {difference:.2g}")
    others = OthersWatch()
    samples = measure({name: partial(runtime.run, {"x": x}) for name, runtime in loaded.items()}, duration)
    return {
        "workload": workload.to_json(),
        "layer": str(workload),
        "threads": threads,
        "copies": copies,
        "cpu": kernels.cpu_name(),
        "isa": Target.from_host(num_cores=threads).isa,
        "versions": {"ONNX Runtime": loaded["onnxruntime"].version},
        "cores_busy_with_others": others.busy_cores(),
        "secs": {
            name: [[secs / copies for secs in of_round] for of_round in rounds_of(each)]
            for name, each in samples.items()
        },
    }
