"""RNN, GRU and LSTM whose weights come with each run; lowering has kernels for constant weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tvm import relax
from tvm.ir import StringImm

from compiler.tvm_backend.operators.cast import converted
from compiler.tvm_backend.operators.node import Converter, Node, Tensor, Unsupported, tensor_type
from compiler.workloads.operators.recurrent import GATES, SCHEMA
from compiler.workloads.operators.recurrent_onnx import OUTPUTS, PLACES, STATES, WEIGHTS, input_shapes, layer_attributes


def _recurrent(node: Node) -> list[Tensor | None]:
    """Calls a function of the runtime, which packs the weights in each run."""
    x, r = node.x, node.input(PLACES["r"])
    if x.dtype not in ("float32", "float16"):
        raise Unsupported(f"elements of type {x.dtype} are not supported; possible are float32 and float16")
    attributes = layer_attributes(node.op, node.attributes, x.shape, r.shape[-1])
    if attributes is None:
        raise Unsupported("its direction, its activations or its clip are not known")
    shapes = input_shapes(attributes, GATES[attributes["cell"]])
    given = {name: tensor for name, place in PLACES.items() if (tensor := node.optional(place)) is not None}
    for name, tensor in given.items():
        if tensor.shape != shapes[name]:
            raise Unsupported(f"its input {PLACES[name]} has shape {tensor.shape} instead of {shapes[name]}")
    if "w" not in given or r.shape[-1] == 0:
        raise Unsupported("it has no weights")
    wanted = [bool(name) for name in node.outputs]
    if not any(wanted):
        return [None for _ in wanted]
    attributes |= {name: name in given for name in STATES}
    attributes |= {name: place < len(wanted) and wanted[place] for place, name in enumerate(OUTPUTS)}
    weights, states = ([name for name in names if name in given] for names in (WEIGHTS, STATES))
    description = {"name": node.name, "op": "recurrent", **attributes, "threads": 1}
    description["weights"] = {name: place for place, name in enumerate(weights)}
    converted_inputs = {
        name: converted(node, tensor, "int32" if name == "sequence_lens" else "float32").expr
        for name, tensor in {"x": x, **given}.items()
    }
    arguments: Any = [StringImm(json.dumps(description)), relax.prim_value(len(weights))]
    arguments += [converted_inputs[name] for name in (*weights, "x", *states)]
    kinds: Any = [tensor_type(shape, "float32") for shape in SCHEMA.outputs(attributes, ())]
    several = len(kinds) > 1
    call = relax.call_dps_packed(
        "loopwright.recurrent_with_weights", relax.Tuple(arguments), kinds if several else kinds[0]
    )
    written = node.builder.emit(call)
    parts = [node.builder.emit(relax.TupleGetItem(written, i)) for i in range(len(kinds))] if several else [written]
    found = iter([converted(node, Tensor.of(part), x.dtype) for part in parts])
    return [next(found) if is_wanted else None for is_wanted in wanted]


CONVERTERS: Mapping[str, Converter] = dict.fromkeys(("RNN", "GRU", "LSTM"), _recurrent)
