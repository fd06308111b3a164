"""OpenVINO's CPU plugin, configured for the latency of one request.

It would compute in bfloat16 on a CPU that supports it, so the default requires float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.runtimes.base import Runtime, version
from compiler.runtimes.onnx_model import inlined, input_specs, output_specs, threads_or_default

if TYPE_CHECKING:
    from compiler.runtimes.base import Model

PACKAGES = ("openvino",)


def load(
    model: Model,
    threads: int | None,
    _operators: Sequence[Path] = (),
    precision: str = "f32",
    name: str = "openvino",
) -> Runtime:
    import openvino as untyped

    openvino: Any = untyped
    found = inlined(model)
    core = openvino.Core()
    request = core.compile_model(
        core.read_model(found.SerializeToString()), "CPU", settings(threads, precision)
    ).create_infer_request()
    outputs = output_specs(found)
    names = [spec.name for spec in outputs]

    return Runtime(name, version(PACKAGES[0]), input_specs(found), outputs, partial(infer, request, names))


def settings(threads: int | None, precision: str = "f32") -> dict[str, Any]:
    """Returns the properties of a compiled model for one request at a time. ``precision``: ``f32`` or ``bf16``."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads_or_default(threads),
        "ENABLE_HYPER_THREADING": False,  # two threads of one core would count as two
    }


def infer(request: Any, names: Sequence[str], inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the answers of one request by the names of the outputs."""
    answers = request.infer(dict(inputs), share_inputs=True)  # copies the answers, but not the inputs
    return {name: answers[index] for index, name in enumerate(names)}
