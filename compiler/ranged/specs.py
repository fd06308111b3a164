"""The inputs and outputs of a graph with static shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from compiler.program.tensor_spec import DTYPES, OPAQUE, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir


def specs(values: Sequence[ir.Value]) -> list[TensorSpec]:
    """Returns the types and shapes of values.

    Raises:
        ValueError: a size is not known; one line names all such values.
    """
    from graph_passes.lazy import ir
    from graph_passes.values import static_shape

    specs, dynamic = [], []
    for value in values:
        dtype = value.dtype.numpy().name if isinstance(value.type, ir.TensorType) and value.dtype else OPAQUE
        shape = static_shape(value)
        if dtype not in DTYPES:
            specs.append(TensorSpec(value.name or "", OPAQUE, ()))
        elif shape is None:
            dynamic.append(f"{value.name}: {value.shape if value.shape is not None else 'no rank'}")
        else:
            specs.append(TensorSpec(value.name or "", dtype, shape))
    if dynamic:
        raise ValueError(f"sizes are not known: {'; '.join(dynamic)}; give input_shapes for the model's inputs")
    return specs
