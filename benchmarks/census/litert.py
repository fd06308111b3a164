"""LiteRT with XNNPACK, for the models of the census that come as TFLite files.

It runs the published file. The ONNX model of the others was converted from it and has channels first. Inputs
are transposed for LiteRT before anything is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.runtimes import Runtime, RuntimeUnavailable
from compiler.runtimes.base import version

NAME, PACKAGE = "litert", "ai-edge-litert"


def load(file: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Runtime:
    """Loads a TFLite file for inputs of the converted model.

    Raises:
        RuntimeUnavailable: LiteRT is not installed.
        ValueError: an input does not fit.
    """
    if not version(PACKAGE):
        raise RuntimeUnavailable(f"{NAME} cannot run here: pip install {PACKAGE}")
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)  # with XNNPACK, its default on CPUs
    interpreter.allocate_tensors()
    places = [(entry["index"], tuple(entry["shape"])) for entry in interpreter.get_input_details()]
    outputs = [(entry["name"], entry["index"]) for entry in interpreter.get_output_details()]
    given = [_fitted(array, shape) for array, (_, shape) in zip(inputs.values(), places, strict=True)]

    def run(_: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for (index, _shape), array in zip(places, given, strict=True):
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return {name: interpreter.get_tensor(index) for name, index in outputs}

    return Runtime(NAME, version(PACKAGE), (), (), run)


def agrees(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], allowed: float = 1e-3) -> bool:
    """Returns whether the outputs are the same, in order, with channels first or last, within a part of their scale."""
    for one, other in zip(got.values(), want.values(), strict=True):
        forms = [one, *([np.moveaxis(one, -1, 1)] if one.ndim == 4 else [])]
        flat = [form.reshape(-1) for form in forms if form.size == other.size]
        scale = float(np.abs(other).max(initial=1e-9))
        if not any(np.abs(form - other.reshape(-1)).max(initial=0.0) <= allowed * scale for form in flat):
            return False
    return True


def _fitted(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape == shape:
        return array
    if array.ndim == 4 and np.moveaxis(array, 1, -1).shape == shape:
        return np.ascontiguousarray(np.moveaxis(array, 1, -1))
    raise ValueError(f"an input of shape {array.shape} does not fit {shape}")
