"""Compares the outputs of an optimized model with those of the original, in ONNX Runtime on seeded random inputs."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graph_passes.base import every_node
from graph_passes.count import macs
from graph_passes.lazy import ir
from graph_passes.onnx_runtime import answers
from graph_passes.values import static_shape

if TYPE_CHECKING:
    import onnx

EPSILON = float(np.finfo(np.float32).eps)
COARSE = {"FLOAT16": 2.0**-10, "BFLOAT16": 2.0**-7}  # epsilons of types with less precision than float32


@dataclass(frozen=True)
class Difference:
    """The largest difference of one output: ``absolute``, and ``relative`` to the largest element of the original."""

    output: str
    absolute: float
    relative: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.relative <= self.allowed  # also False for NaN


def compare(original: str | os.PathLike[str] | onnx.ModelProto, optimized: ir.Model, seed: int = 0) -> list[Difference]:
    """Runs both models without ONNX Runtime's own optimizations and compares each output.

    Passes reorder sums and round folded weights, so outputs differ by rounding. A sum of k terms has an error of about
    sqrt(k) epsilons of its scale if errors have random signs (Higham and Mary, 2019), and errors of one layer propagate
    to the next. The allowed relative difference is four times the sum of sqrt(k) over all layers, in epsilons of
    float32 or of the least precise type in the model. It is 0 for integers.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        ValueError: No random values exist for an input.
        RuntimeError: ONNX Runtime rejects one of the models.
    """
    from graph_passes.model_io import write

    inputs = random_inputs(optimized.graph, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        write(optimized, path)
        changed = _run(path, inputs, "optimized")
    expected = _run(original, inputs, "original")
    allowed = 4 * _epsilon(optimized) * max(sum(_roots(optimized)), 1.0)
    return [_difference(name, expected[name], changed.get(name), allowed) for name in expected]


def random_inputs(graph: ir.Graph, seed: int) -> dict[str, np.ndarray]:
    """Returns random inputs by name: floats from N(0, 1), integers and booleans from {0, 1}.

    0 and 1 are valid indices of every table with at least two rows.

    Raises:
        ValueError: The shape of an input is unknown, or its type is not supported.
    """
    rng = np.random.default_rng(seed)
    inputs = {}
    for value in graph.inputs:
        if value.type is not None and not isinstance(value.type, ir.TensorType):
            raise ValueError(f"input {value.name} is not a tensor; random values exist for tensors only")
        shape = static_shape(value)
        if shape is None or value.dtype is None:
            raise ValueError(f"input {value.name} has a dynamic shape; give it one (--input-shape {value.name}:1,...)")
        dtype = value.dtype.numpy()
        if value.dtype.is_floating_point():
            inputs[str(value.name)] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind in "iub":
            inputs[str(value.name)] = rng.integers(0, 2, shape).astype(dtype)
        else:
            type_name = value.dtype.name.lower()
            raise ValueError(f"input {value.name} is of type {type_name}; random values exist for numbers only")
    return inputs


def _epsilon(model: ir.Model) -> float:
    values = (value for node in every_node(model) for value in node.outputs)
    return max((COARSE.get(value.dtype.name, EPSILON) for value in values if value.dtype is not None), default=EPSILON)


def _roots(model: ir.Model) -> Iterator[float]:
    """Yields, for each layer, the square root of the number of terms per sum."""
    for node in every_node(model):
        work, shape = macs(node), static_shape(node.outputs[0]) if node.outputs else None
        if work and shape:
            yield math.sqrt(work / max(math.prod(shape), 1))


def _run(model: Any, inputs: Mapping[str, np.ndarray], which: str) -> dict[str, np.ndarray]:
    try:
        values = answers(model, inputs)
    except ModuleNotFoundError:
        raise ModuleNotFoundError("--check needs onnxruntime: pip install 'loopwright[check]'") from None
    except RuntimeError as error:
        raise RuntimeError(f"ONNX Runtime rejects the {which} model: {error}") from None
    return dict(array for name, value in values for array in _arrays(name, value))


def _arrays(name: str, answer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the array of an output, or the arrays of a sequence."""
    if isinstance(answer, list):
        for index, element in enumerate(answer):
            yield from _arrays(f"{name}[{index}]", element)
    else:
        yield name, np.asarray(answer)


def _difference(name: str, expected: np.ndarray, changed: np.ndarray | None, allowed: float) -> Difference:
    if changed is None or expected.shape != changed.shape or expected.dtype != changed.dtype:
        return Difference(name, math.inf, math.inf, allowed)
    if expected.dtype.kind not in "fiubV":
        same = bool((expected == changed).all())
        return Difference(name, 0.0 if same else math.inf, 0.0 if same else math.inf, 0.0)
    exact = expected.dtype.kind in "iub"
    one, other = expected.astype(np.float64), changed.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinities
        off = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0, np.abs(one - other))
    absolute = float(off.max(initial=0))
    scale = float(np.abs(one[np.isfinite(one)]).max(initial=0))
    return Difference(name, absolute, absolute / scale if scale else absolute, 0.0 if exact else allowed)


def failures(differences: Sequence[Difference]) -> list[str]:
    """Returns one line per output that differs by more than allowed."""
    return [
        f"output {d.output} differs by {d.relative:.3g} of its scale, more than the {d.allowed:.3g} allowed"
        for d in differences
        if not d.ok
    ]
