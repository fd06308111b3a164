"""ONNX Runtime's CPU provider, with all of its graph optimizations.

Its threads spin for a while after a run (``session.intra_op.allow_spinning``), which is its default and its best
latency.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.runtimes.base import Run

if TYPE_CHECKING:
    import onnx

PACKAGES = ("onnxruntime",)


def prepare(model: onnx.ModelProto, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, and need not be printed too
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers: Any = session.run(names, dict(inputs))
        return dict(zip(names, answers, strict=True))

    return run
