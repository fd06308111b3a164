"""A model that ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from optimizer.messages import one_line


class Session:
    """Runs a model.

    Args:
        threads: None leaves the number to ONNX Runtime.
        fused: whether ONNX Runtime may optimize the graph. If not, quantized layers compute in floating point between
            their operands, which is nearly the same.

    Raises:
        ValueError: ONNX Runtime does not load or run the model; its message on one line.
    """

    def __init__(self, model: onnx.ModelProto, threads: int | None = None, fused: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # errors are raised and need not be printed too
        # On CPUs without VNNI, sums of two products of 8-bit integers saturate without it.
        options.add_session_config_entry("session.x64quantprecision", "1")
        if not fused:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - its errors share no base class
            raise ValueError(f"ONNX Runtime does not load the model: {one_line(error)}") from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            values = self._session.run(None, dict(inputs))
        except Exception as error:  # noqa: BLE001
            raise ValueError(f"ONNX Runtime does not run the model: {one_line(error)}") from None
        found = {}
        for name, value in zip(self._outputs, values, strict=True):
            if not isinstance(value, np.ndarray):
                raise ValueError(f"output {name} is not a tensor")
            found[name] = value
        return found
