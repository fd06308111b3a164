"""Recognizes rnn, gru and lstm: RNN, GRU and LSTM with constant weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32
from compiler.workloads.operators.recurrent import GATES
from compiler.workloads.operators.recurrent_onnx import OUTPUTS, PLACES, STATES, WEIGHTS, input_shapes, layer_attributes
from compiler.workloads.workload import Workload
from graph_passes.values import constant, data_input, static_shape


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of an RNN, GRU or LSTM of any form whose weights are constant float32."""
    x, shape, weights = node.inputs[0], static_shape(node.inputs[0]), _weights(node)
    if x is None or not is_float32(x) or shape is None or weights is None or weights["r"].ndim != 3:
        return None
    units = weights["r"].shape[2]
    given = {name: attribute.value for name, attribute in node.attributes.items() if not attribute.is_ref()}
    attributes = layer_attributes(node.op_type, given, shape, units)
    if attributes is None or units == 0:
        return None
    shapes = input_shapes(attributes, GATES[attributes["cell"]])
    states = _states(node, shapes)
    used = [place for place, output in enumerate(node.outputs) if output.uses() or output.is_graph_output()]
    if not used or states is None or any(array.shape != shapes[name] for name, array in weights.items()):
        return None
    attributes |= {name: name in states for name in STATES}
    attributes |= {name: place in used for place, name in enumerate(OUTPUTS)}
    steps, batch, inputs, _units = attributes["sizes"]
    sizes = (len(attributes["reverse"]), max(1, steps), max(1, batch), max(1, inputs), units)
    return Call(
        "recurrent",
        (x, *states.values()),
        attributes,
        weights,
        stages=(Workload(attributes["cell"], sizes),),
        outputs=tuple(used),
    )


def _weights(node: ir.Node) -> dict[str, np.ndarray] | None:
    """Returns the weights that are present; None if one is not constant."""
    weights = {}
    for name in WEIGHTS:
        value = data_input(node, PLACES[name])
        if value is None and name in ("b", "p"):
            continue
        array = float32_constant(value)
        if array is None:
            return None
        weights[name] = np.ascontiguousarray(array)
    return weights


def _states(node: ir.Node, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, ir.Value] | None:
    """Returns the inputs of a run in addition to x; None if one of them has a wrong shape or type."""
    states = {}
    for name in STATES:
        value = data_input(node, PLACES[name])
        if value is None:
            continue
        kind = ir.DataType.INT32 if name == "sequence_lens" else ir.DataType.FLOAT
        if value.dtype != kind or static_shape(value) != shapes[name]:
            return None
        array = constant(value)
        if name == "sequence_lens" or array is None or array.any():  # states of zeros are the default
            states[name] = value
    return states
