"""The reference for models with operators of users, which ONNX Runtime cannot run.

The model is divided at their nodes. ONNX Runtime runs the parts between them, and each node runs alone, outside of any
program. So everything but the operators themselves is compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from compiler.program.operators import Operators


def answers(
    model: str | os.PathLike[str] | onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    optimized: bool,
    operators: Operators,
) -> list[tuple[str, Any]]:
    """Returns the name and the value of each output, as :func:`graph_passes.onnx_runtime.answers`.

    Raises:
        RuntimeError: ONNX Runtime does not run a part of the model, or an operator fails; one line.
    """
    import onnx

    from compiler.lowering.user_operator import description_of, is_known
    from compiler.partition.divide import divide
    from graph_passes.lazy import ir
    from graph_passes.onnx_runtime import answers as answers_of_onnx_runtime

    proto = _with_types(model, inputs, operators)
    others = [i for i, node in enumerate(proto.graph.node) if (node.domain, node.op_type) not in operators.names]
    divided = divide(proto, dict.fromkeys(others, ""))
    graph = ir.serde.deserialize_model(divided.model).graph
    values: dict[str, Any] = dict(inputs)
    values |= {name: value.const_value.numpy() for name, value in graph.initializers.items() if value.const_value}
    for node in graph:
        names = [str(value.name) for value in node.inputs if value is not None]
        if is_known(node, operators):
            try:
                found = operators.run(description_of(node, operators), [np.asarray(values[name]) for name in names])
            except ValueError as error:
                raise RuntimeError(str(error)) from None
            values |= zip((str(output.name) for output in node.outputs), found, strict=True)
        else:
            part = onnx.load_model_from_string(divided.segments[node.attributes["place"].as_int()].model)
            given = {name: values[name] for name in names}
            values |= answers_of_onnx_runtime(part, given, optimized, threads=1, custom=operators.custom)
    return [(str(output.name), values[str(output.name)]) for output in graph.outputs]


def _with_types(
    model: str | os.PathLike[str] | onnx.ModelProto, inputs: Mapping[str, np.ndarray], operators: Operators
) -> onnx.ModelProto:
    """Returns the model for inputs of these shapes, without functions, and with the types of all values."""
    import graph_passes
    from compiler.lowering.infer_user_operators import InferUserOperators
    from graph_passes.inline_functions import InlineFunctions
    from graph_passes.lazy import ir

    shapes = {name: array.shape for name, array in inputs.items() if isinstance(array, np.ndarray) and array.size}
    passes = [InlineFunctions(), graph_passes.named("freeze_shapes"), InferUserOperators(operators)]
    found = graph_passes.optimize(model, shapes, passes).ir_model
    ir.external_data.load_to_model(found)
    return ir.serde.serialize_model(found)
