"""Cases: a model with its inputs, and what is particular about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tests.compiler.differential.draft import ModelDraft

# How the outputs of a model state their shapes.
STATED = CORRECT, ABSENT, SYMBOLIC = "correct", "absent", "symbolic"


@dataclass(frozen=True)
class Case:
    """A model and its inputs.

    Attributes:
        operators: the operators of its nodes, in order.
        opset: the version of the operator set.
        version: the opset in which the operator got its present form; 0 for several operators.
        model: its outputs have no types, which ``with_outputs`` adds.
        inputs: arrays by name.
        input_shapes: for the inputs whose sizes the model does not state.
        features: what the coverage counts: "attribute:axis", "type:float32", "input:B", "version:13".
        stated: one of ``STATED``.
        threads: number of threads of the compiled model.
        undefined, illegal: see ``NodeDraft``.
        ieee: whether the compiled model keeps subnormals. Inputs then have them. Otherwise they have zeros, and the
            compiled model gets subnormals in their place, which must count as zeros.
    """

    operators: tuple[str, ...]
    opset: int
    version: int
    model: onnx.ModelProto
    inputs: Mapping[str, np.ndarray]
    input_shapes: Mapping[str, tuple[int, ...]]
    features: tuple[str, ...]
    stated: str
    threads: int
    undefined: bool = False
    illegal: bool = False
    ieee: bool = False

    @property
    def size(self) -> int:
        """The size of a reproduction: small ones are shown."""
        return self.model.ByteSize() + 4 * sum(x.size for x in self.inputs.values())

    def with_outputs(self, answers: Sequence[np.ndarray]) -> onnx.ModelProto:
        """Returns the model with the types of its outputs, and their shapes as ``stated``."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for value, answer in zip(model.graph.output, answers, strict=True):
            shapes = {
                CORRECT: list(answer.shape),
                ABSENT: None,
                SYMBOLIC: [f"{value.name}_{axis}" for axis in range(answer.ndim)],
            }
            kind = helper.np_dtype_to_tensor_dtype(answer.dtype)
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[self.stated]))
        return model


def model_of(draft: ModelDraft, outputs: Sequence[str], symbolic: Sequence[str] = ()) -> onnx.ModelProto:
    """Returns the model of a draft. The inputs named in ``symbolic`` have sizes without values."""
    inputs = []
    for name, array in draft.inputs.items():
        shape = [f"{name}_{axis}" for axis in range(array.ndim)] if name in symbolic else list(array.shape)
        inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape))
    graph = helper.make_graph(
        draft.nodes,
        "g",
        inputs,
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in draft.constants.items()],
    )
    opset = helper.make_opsetid("", draft.opset)
    return helper.make_model(graph, opset_imports=[opset], ir_version=ir_version(draft.opset))


def ir_version(opset: int) -> int:
    """Returns the oldest version of the format for the opset, but at least 8, since older ones limit initializers."""
    return max(helper.find_min_ir_version_for([helper.make_opsetid("", opset)]), 8)
