"""Recognizes rnn, gru and lstm: RNN, GRU, LSTM and DynamicQuantizeLSTM with constant weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call, float32_constant, is_float32
from compiler.workloads.operators.recurrent import GATES
from compiler.workloads.operators.recurrent_onnx import OUTPUTS, PLACES, STATES, WEIGHTS, input_shapes, layer_attributes
from compiler.workloads.workload import Workload
from graph_passes.values import constant, data_input, static_shape

_QUANTIZED = "DynamicQuantizeLSTM"
# The places of the scale and the zero point of its weights, after those of an LSTM's inputs.
_SCALES = {"w": (8, 9), "r": (10, 11)}


def recognize(node: ir.Node) -> Call | None:
    """Returns the kernel of an RNN, GRU or LSTM of any form whose weights are constant float32, or 8-bit integers.

    A DynamicQuantizeLSTM is an LSTM on the floats of its weights whose kernel rounds x and h as ONNX Runtime does.
    """
    quantized = node.op_type == _QUANTIZED
    op = "LSTM" if quantized else node.op_type
    x, shape, weights = node.inputs[0], static_shape(node.inputs[0]), _weights(node, quantized)
    if x is None or not is_float32(x) or shape is None or weights is None or weights["r"].ndim != 3:
        return None
    units = weights["r"].shape[2]
    given = {name: attribute.value for name, attribute in node.attributes.items() if not attribute.is_ref()}
    attributes = layer_attributes(op, given, shape, units)
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
    cell = attributes["cell"]
    if quantized:
        attributes["cell"] = "quantized_lstm"
    sizes = (len(attributes["reverse"]), max(1, steps), max(1, batch), max(1, inputs), units)
    return Call(
        "recurrent",
        (x, *states.values()),
        attributes,
        weights,
        stages=(Workload(cell, sizes),),
        outputs=tuple(used),
    )


def _weights(node: ir.Node, quantized: bool) -> dict[str, np.ndarray] | None:
    """Returns the weights that are present, in float32; None if one is not constant."""
    weights = {}
    for name in WEIGHTS:
        value = data_input(node, PLACES[name])
        if value is None and name in ("b", "p"):
            continue
        array = _dequantized(node, PLACES[name]) if quantized and name in _SCALES else float32_constant(value)
        if array is None:
            return None
        weights[name] = np.ascontiguousarray(array)
    return weights


def _dequantized(node: ir.Node, place: int) -> np.ndarray | None:
    """Returns the floats of 8-bit weights (directions, inputs, gates units), with the last two axes exchanged.

    Their scales and zero points are one for each direction, or also for each column.
    """
    integers, scale, zero = (constant(data_input(node, index)) for index in (place, *_SCALES[WEIGHTS[place - 1]]))
    if integers is None or scale is None or integers.ndim != 3 or scale.dtype != np.float32:
        return None
    zero = np.zeros(scale.shape, np.int8) if zero is None else zero
    columns = (integers.shape[0], 1), (integers.shape[0], integers.shape[2])
    if integers.dtype.itemsize != 1 or scale.shape not in (*columns, columns[0][:1]) or zero.shape != scale.shape:
        return None
    shape = (integers.shape[0], 1, -1)
    whole = integers.astype(np.int32) - zero.astype(np.int32).reshape(shape)
    return np.ascontiguousarray((whole.astype(np.float32) * scale.reshape(shape)).transpose(0, 2, 1))


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
