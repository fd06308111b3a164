"""The oneDNN inside PyTorch, newer than the C++ wheel's, through the two operators that ``torch.compile`` uses.

``torch.nn.functional.linear`` runs MKL instead, which is slow on some CPUs. These operators allocate their output and
pass through torch's dispatcher, which takes some microseconds per run. This measures torch as it is used, but not
oneDNN itself on the smallest shapes.
"""

from __future__ import annotations

import importlib.util
import re
import time
from collections.abc import Mapping

import numpy as np

from compiler.workloads.workload import Workload

ACTIVATIONS = {"relu": ("relu", None), "gelu": ("gelu", "none")}


def missing() -> str | None:
    return None if importlib.util.find_spec("torch") else "torch is not installed"


def version() -> str:
    import torch

    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return f"torch {torch.__version__}, oneDNN {onednn.group(1) if onednn else 'of unknown version'} inside"


class Dense:
    """One dense layer with prepacked weights, float32."""

    description = "mkldnn::_linear_pointwise"
    algorithm = "direct"

    def __init__(self, workload: Workload, inputs: Mapping[str, np.ndarray], threads: int) -> None:
        import torch

        self._workload, self._inputs, self._threads = workload, inputs, threads
        self._inference_mode = torch.inference_mode
        self._set_num_threads = torch.set_num_threads
        torch.set_num_threads(threads)
        x, weight = (torch.from_numpy(inputs[name]) for name in ("x", "weight"))
        bias = torch.from_numpy(inputs["bias"]) if "bias" in inputs else None
        packed = torch.ops.mkldnn._reorder_linear_weight(weight, len(inputs["x"]))
        activation, algorithm = ACTIVATIONS.get(workload.activation or "", ("none", ""))
        self._operator = torch.ops.mkldnn._linear_pointwise.default
        self._arguments = (x, packed, bias, activation, [], algorithm)

    def run(self) -> np.ndarray:
        self._set_num_threads(self._threads)
        with self._inference_mode():
            return self._operator(*self._arguments).numpy()

    def time(self, number: int, repeat: int) -> list[float]:
        self._set_num_threads(self._threads)
        operator, arguments, samples = self._operator, self._arguments, []
        with self._inference_mode():
            for _ in range(repeat):
                start = time.perf_counter()
                for _ in range(number):
                    operator(*arguments)
                samples.append((time.perf_counter() - start) / number)
        return samples

    def copy(self) -> Dense:
        return Dense(self._workload, self._inputs, self._threads)


def layer(
    workload: Workload,
    inputs: Mapping[str, np.ndarray],
    out: np.ndarray,  # noqa: ARG001 - the operator allocates its output
    threads: int,
) -> Dense:
    """Returns a dense layer in float32 without residual.

    Raises:
        ValueError: the workload is not supported.
    """
    if workload.op != "dense" or workload.dtype != "float32":
        raise ValueError(f"{workload.op} {workload.dtype} is not supported; only dense float32 is")
    if "residual" in workload.epilogue or (workload.activation or "relu") not in ACTIVATIONS:
        raise ValueError(f"the fused epilogue {' '.join(workload.epilogue)} is not supported")
    return Dense(workload, inputs, threads)
