"""ONNX Runtime's MatMulNBits, as a session with one node, for dense layers with weights of few bits.

Its sums are in float32 (``accuracy_level`` 1), as ours are. The call of a session from Python takes some microseconds
per run, which a layer of a language model exceeds a hundred times.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from compiler.runtimes import onnxruntime
from compiler.workloads.operators.block_dense import block_numbers, packed_numbers
from compiler.workloads.workload import Workload

_FLOAT32_SUMS = 1
_BITS = (4, 8)


def missing() -> str | None:
    return None  # the compiler needs ONNX Runtime as well


def version() -> str:
    import onnxruntime as ort

    return f"ONNX Runtime {ort.__version__}"


class BlockDense:
    """One layer with weights of 4 or 8 bits in blocks."""

    description = "MatMulNBits"
    algorithm = "direct"

    def __init__(self, workload: Workload, inputs: Mapping[str, np.ndarray], threads: int) -> None:
        import onnxruntime as ort

        self._arguments = (workload, inputs, threads)
        options = onnxruntime.session_options(threads)
        self._session = ort.InferenceSession(_model(workload, inputs).SerializeToString(), options)
        self._feeds = {"x": inputs["x"]}

    def run(self) -> np.ndarray:
        (y,) = self._session.run(None, self._feeds)
        return np.asarray(y)

    def time(self, number: int, repeat: int) -> list[float]:
        samples = []
        for _ in range(repeat):
            start = time.perf_counter()
            for _ in range(number):
                self._session.run(None, self._feeds)
            samples.append((time.perf_counter() - start) / number)
        return samples

    def copy(self) -> BlockDense:
        return BlockDense(*self._arguments)


def layer(
    workload: Workload,
    inputs: Mapping[str, np.ndarray],
    out: np.ndarray,  # noqa: ARG001 - a session allocates its output
    threads: int,
) -> BlockDense:
    """Returns a layer without an activation or a residual.

    Raises:
        ValueError: the workload is not supported.
    """
    if workload.op != "block_dense" or workload.sizes["bits"] not in _BITS:
        raise ValueError(f"{workload.op} is not supported; only block_dense of {' or '.join(map(str, _BITS))} bits is")
    if set(workload.epilogue) - {"bias"}:
        raise ValueError(f"the fused epilogue {' '.join(workload.epilogue)} is not supported")
    return BlockDense(workload, inputs, threads)


def _model(workload: Workload, inputs: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    s = workload.sizes
    numbers, scales = block_numbers(inputs["weight"], s["bits"], s["block"])
    blocks = scales.shape[1]
    whole = np.full((s["n"], blocks * s["block"]), 1 << (s["bits"] - 1), np.uint8)
    whole[:, : s["k"]] = numbers
    constants = {"w": packed_numbers(whole, s["bits"]).reshape(s["n"], blocks, -1), "scales": scales.ravel()}
    names = ["x", *constants, "", "", "bias"] if "bias" in inputs else ["x", *constants]
    if "bias" in inputs:
        constants["bias"] = inputs["bias"]
    node = helper.make_node(
        "MatMulNBits",
        names,
        ["y"],
        domain="com.microsoft",
        K=s["k"],
        N=s["n"],
        bits=s["bits"],
        block_size=s["block"],
        accuracy_level=_FLOAT32_SUMS,
    )
    graph = helper.make_graph(
        [node],
        "block_dense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [s["m"], s["k"]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [s["m"], s["n"]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)
