"""Inputs to run a model on when nobody has given any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from graph_passes import check
from graph_passes.lazy import ir

if TYPE_CHECKING:
    import onnx

# Name, shape and data type of one input.
InputSpec: TypeAlias = tuple[str, Sequence[int], DTypeLike]


def random_inputs(source: onnx.ModelProto | Sequence[InputSpec], seed: int = 0) -> dict[str, np.ndarray]:
    """Seeded values for the inputs of a model, or those listed: floats of N(0, 1), integers of 0 and 1 (right for masks
    and token types, and within every table that they may index), random truths.

    Raises:
        ValueError: an input of a dynamic shape, or of a type without such values.
    """
    graph = _graph(source) if isinstance(source, Sequence) else ir.serde.deserialize_model(source).graph
    for value in [value for value in graph.inputs if value.name in graph.initializers]:  # a weight, in old models
        graph.inputs.remove(value)
    return check.random_inputs(graph, seed)


def _graph(specs: Sequence[InputSpec]) -> ir.Graph:
    inputs = [
        ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.from_numpy(np.dtype(dtype))))
        for name, shape, dtype in specs
    ]
    return ir.Graph(inputs, [], nodes=[])
