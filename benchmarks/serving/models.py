"""The model ``y = x + 1`` of the benchmark, for both servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from benchmarks.serving.messages import MODELS


def compile_models(repository: Path) -> None:
    """Compiles the models into a repository of our server."""
    import compiler

    for name, shape in MODELS.items():
        (repository / name / "1").mkdir(parents=True)
        compiler.build(_add_one(shape), threads=1).save(repository / name / "1" / "model.lw")


def python_models() -> dict[str, Mapping[str, str]]:
    """Returns the files of the models for Triton's Python backend."""
    return {
        name: {"config.pbtxt": _CONFIG.format(dims=list(shape)), "1/model.py": _CODE} for name, shape in MODELS.items()
    }


_CONFIG = """\
backend: "python"
input [{{name: "x" data_type: TYPE_FP32 dims: {dims}}}]
output [{{name: "y" data_type: TYPE_FP32 dims: {dims}}}]
instance_group [{{count: 1 kind: KIND_CPU}}]
"""
_CODE = """\
import triton_python_backend_utils as backend


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(backend.get_input_tensor_by_name(request, "x").as_numpy()) for request in requests]

    def answer(self, x):
        return backend.InferenceResponse([backend.Tensor("y", x + 1)])
"""


def _add_one(shape: Sequence[int]) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    graph = helper.make_graph([helper.make_node("Add", ["x", "one"], ["y"])], "add_one", [x], [y], [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
