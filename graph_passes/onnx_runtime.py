"""Runs a model in ONNX Runtime, which is optional."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graph_passes.model_file import opened


def answers(
    model: Any,
    inputs: Mapping[str, np.ndarray],
    optimized: bool = False,
    threads: int | None = None,
    custom: Sequence[str] = (),
) -> list[tuple[str, Any]]:
    """Returns the name and the value of each output: arrays, lists of them, or None.

    Args:
        model: the path of a model, which may be a folder or an archive, or a model as a protobuf message.
        inputs: arrays by name.
        optimized: whether ONNX Runtime may use its own graph optimizations.
        threads: None leaves the number to ONNX Runtime.
        custom: libraries with custom operators.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        RuntimeError: ONNX Runtime does not run the model; its message on one line.
    """
    import onnxruntime as ort

    levels = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    if threads is not None:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised and need not be printed too
    with contextlib.ExitStack() as stack:
        if isinstance(model, (str, os.PathLike)):
            source = os.fspath(stack.enter_context(opened(model)))
        else:
            source = model.SerializeToString()
        try:
            for library in custom:
                options.register_custom_ops_library(library)
            session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
            values = session.run(None, dict(inputs))
        except Exception as error:  # noqa: BLE001 - its errors share no base class
            raise RuntimeError(" ".join(str(error).split())) from None
    return list(zip((output.name for output in session.get_outputs()), values, strict=True))
