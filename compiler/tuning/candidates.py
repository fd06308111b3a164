"""The programs of one model that ``compiler.build(..., tune=True)`` measures."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from compiler.program.choice import COMPILED
from compiler.program.compiled_model import CompiledModel
from compiler.program.operators import Operators
from compiler.program.tensor_spec import TensorSpec
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import onnx

    Source = str | os.PathLike[str] | onnx.ModelProto

ONNX_RUNTIME = "ONNX Runtime"
ON_ONE_THREAD = "on one thread"
SEGMENTS_ON_ONE_THREAD = f"{COMPILED}, segments {ON_ONE_THREAD}"
_REASON = "build(tune=True) leaves the whole model to ONNX Runtime"

Make = Callable[[], CompiledModel]


def candidates(compiled: CompiledModel, model: Source, shapes: Mapping[str, Sequence[int]] | None) -> dict[str, Make]:
    """Returns functions that make the candidates, by name; the first one is the compiled program itself.

    The whole model in ONNX Runtime is the model as published, whose operators, such as those on 8-bit integers, ONNX
    Runtime recognizes. On several threads, ONNX Runtime is tried on one too: waking threads takes longer than some
    operators.

    Args:
        compiled: the compiled program.
        model: the model that it was built from.
        shapes: shapes of the inputs with dynamic dimensions.
    """
    whole = partial(
        whole_in_onnxruntime, model, shapes, compiled.inputs, compiled.target, compiled.ieee, compiled.operators
    )
    made: dict[str, Make] = {COMPILED: lambda: compiled}
    if compiled.target.num_cores > 1 and compiled.segments:
        made[SEGMENTS_ON_ONE_THREAD] = partial(compiled.with_segments_on, 1)
    made[ONNX_RUNTIME] = whole
    if compiled.target.num_cores > 1:
        made[f"{ONNX_RUNTIME} {ON_ONE_THREAD}"] = lambda: whole().with_segments_on(1)
    return made


def whole_in_onnxruntime(
    model: Source,
    shapes: Mapping[str, Sequence[int]] | None,
    inputs: Sequence[TensorSpec],
    target: Target,
    ieee: bool,
    operators: Operators | None = None,
) -> CompiledModel:
    """Returns a program with one segment: the whole model, with static shapes and otherwise as published.

    Args:
        model, shapes: the model, and the shapes of its dynamic inputs.
        inputs: the inputs of the program.
        target, ieee, operators: as of the program.

    Raises:
        ValueError: ONNX Runtime rejects the model, or it has more than 2 GiB of weights.
    """
    import graph_passes
    from compiler.tvm_backend.compile import compile_model
    from graph_passes.inline_functions import inline_calls
    from graph_passes.lazy import ir

    frozen = graph_passes.optimize(model, shapes, ("freeze_shapes",)).ir_model
    ir.external_data.load_to_model(frozen)
    inline_calls(frozen)
    proto = ir.serde.serialize_model(frozen)
    # Old models list their weights as inputs too.
    stated = {value.name: value for value in proto.graph.input}
    del proto.graph.input[:]
    proto.graph.input.extend(stated[spec.name] for spec in inputs)
    rejected = dict.fromkeys(range(len(proto.graph.node)), _REASON)
    made = compile_model(proto, (), target, fallback=True, rejected=rejected)
    return CompiledModel(
        made.executable,
        (),
        inputs,
        made.outputs,
        target,
        made.module,
        made.segments,
        ieee=ieee,
        operators=operators,
    )
