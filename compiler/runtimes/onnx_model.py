"""ONNX models as the runtimes of other projects take them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from compiler.program.tensor_spec import TensorSpec
from compiler.workloads.target import default_threads

if TYPE_CHECKING:
    import onnx

    from compiler.runtimes.base import Model


def read(model: Model) -> onnx.ModelProto:
    """Returns the model, read from its file if necessary.

    Raises:
        ValueError, OSError: the file is not an ONNX model or cannot be read.
    """
    if not isinstance(model, (str, os.PathLike)):
        return model
    from graph_passes.lazy import ir
    from graph_passes.model_io import read as read_file

    found = read_file(model)
    ir.external_data.load_to_model(found)
    return ir.serde.serialize_model(found)


def inlined(model: Model) -> onnx.ModelProto:
    """Returns the model without function calls, which only ONNX Runtime supports well."""
    import graph_passes

    found = read(model)
    return graph_passes.inline(found) if found.functions else found


def threads_or_default(threads: int | None) -> int:
    """Returns the number of threads; None: as many as our own runtime uses by default."""
    return default_threads() if threads is None else threads


def input_specs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """Returns the inputs of a model. Weights, which are inputs too in old models, are left out.

    Raises:
        ValueError: an input is not a tensor, or has a type that numpy does not support.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    return _specs(value for value in model.graph.input if value.name not in weights)


def output_specs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """Returns the outputs of a model.

    Raises:
        ValueError: as :func:`input_specs`.
    """
    return _specs(model.graph.output)


def _specs(values: Iterable[onnx.ValueInfoProto]) -> tuple[TensorSpec, ...]:
    from onnx import helper

    specs = []
    for value in values:
        tensor = value.type.tensor_type
        if not tensor.elem_type:
            raise ValueError(f"{value.name} is not a tensor")
        dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.shape.dim)
        specs.append(TensorSpec(value.name, helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, dims))
    return tuple(specs)
