"""ONNX Runtime's CPU provider with all of its graph optimizations.

Its threads spin for a while after a run (``session.intra_op.allow_spinning``). That is its default and gives its best
latency.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program.operators import custom_operators
from compiler.runtimes.base import Runtime, version
from compiler.runtimes.onnx_model import inlined, input_specs, output_specs, read, threads_or_default

if TYPE_CHECKING:
    import onnxruntime

    from compiler.runtimes.base import Model

PACKAGES = ("onnxruntime",)


def load(model: Model, threads: int | None, operators: Sequence[Path] = ()) -> Runtime:
    return session(inlined(model), threads, operators=operators)


def session(model: Model, threads: int | None, optimized: bool = True, operators: Sequence[Path] = ()) -> Runtime:
    """Loads a model, which may have function calls; ``optimized``: with ONNX Runtime's own graph optimizations."""
    import onnxruntime as ort

    found = read(model)
    options = session_options(threads, optimized)
    for library in custom_operators(operators):
        options.register_custom_ops_library(library)
    ready = ort.InferenceSession(found.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = output_specs(found)
    names = [spec.name for spec in outputs]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers: Any = ready.run(names, dict(inputs))
        return dict(zip(names, answers, strict=True))

    return Runtime("onnxruntime", version(PACKAGES[0]), input_specs(found), outputs, run)


def session_options(threads: int | None, optimized: bool = True) -> onnxruntime.SessionOptions:
    """Returns the options of :func:`session`."""
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads_or_default(threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised and need not be printed too
    return options
