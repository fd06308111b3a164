"""OpenVINO's CPU plugin, set for the latency of one request.

It would compute in bfloat16 where a CPU can, so float32 is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from compiler.runtimes.base import Run

if TYPE_CHECKING:
    import onnx

PACKAGES = ("openvino",)


def prepare(model: onnx.ModelProto, threads: int) -> Run:
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": False,  # two threads of one core would be counted as two
    }
    request = core.compile_model(core.read_model(model.SerializeToString()), "CPU", settings).create_infer_request()
    names = [output.name for output in model.graph.output]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = request.infer(dict(inputs), share_inputs=True)  # spares copies; the answers are copied
        return {name: answers[index] for index, name in enumerate(names)}

    return run
