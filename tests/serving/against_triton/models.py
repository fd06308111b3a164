"""Models that return their inputs, for both servers: ours runs ONNX's Identity, Triton its Python backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.graph_passes.models import model
from tests.serving.models import TYPES, write_version

ONNX_TYPES = {name: row[0] for name, row in TYPES.items()} | {"BYTES": "string"}


@dataclass(frozen=True)
class Tensor:
    """An input and the output that has its values. -1 is an open size."""

    source: str
    target: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Identity:
    tensors: tuple[Tensor, ...]
    largest_batch: int = 0  # of Triton: above 0, the first size of each tensor counts items
    labels: tuple[str, ...] = ()


def _one(datatype: str, shape: tuple[int, ...], largest_batch: int = 0, labels: tuple[str, ...] = ()) -> Identity:
    return Identity((Tensor("x", "y", datatype, shape),), largest_batch, labels)


MODELS: Mapping[str, Identity] = {
    **{name: _one(name, (-1, -1)) for name in ONNX_TYPES},  # one for each data type, with its name
    "fixed": _one("FP32", (2, 3)),
    "counted": _one("FP32", (-1,)),  # whose requests the statistics count
    "rows": _one("FP32", (-1, 5), 8, ("apple", "pickle", "ä b")),
    "rows_of_halves": _one("FP16", (-1, 5), 8),
    "rows_of_integers": _one("INT64", (-1, 5), 8),
    "row": _one("FP32", (5,)),
    "flags": _one("BOOL", (3,)),
    "several": Identity(
        (Tensor("a", "p", "FP32", (-1,)), Tensor("b", "q", "BYTES", (-1,)), Tensor("c", "r", "INT64", (-1, -1)))
    ),
}


def values(datatype: str) -> np.ndarray:
    """Returns two rows with the extremes of a data type."""
    if datatype == "BYTES":
        return np.array([[b"", b"one", 'quotes " and \u20ac'.encode()], [b"\n", b"\x7f", b"two"]], np.object_)
    _, dtype, row = TYPES[datatype]
    return np.array([row, row[::-1]], dtype)


def write_ours(repository: Path) -> None:
    """Writes the models into a repository of our server."""
    for name, identity in MODELS.items():
        inputs = ", ".join(_declared(each, each.source) for each in identity.tensors)
        outputs = ", ".join(_declared(each, each.target) for each in identity.tensors)
        nodes = " ".join(f"{each.target} = Identity ({each.source})" for each in identity.tensors)
        made = model(f"g ({inputs}) => ({outputs}) {{ {nodes} }}")
        write_version(repository / name / "1", made, 'runtime = "onnxruntime"\n')
        if identity.labels:
            (repository / name / "labels.txt").write_text("\n".join(identity.labels) + "\n")


def for_triton() -> dict[str, Mapping[str, str]]:
    """Returns the files of the models for Triton's Python backend."""
    return {name: _files(identity) for name, identity in MODELS.items()}


def _declared(tensor: Tensor, name: str) -> str:
    sizes = (f"{tensor.source}{axis}" if size < 0 else str(size) for axis, size in enumerate(tensor.shape))
    return f"{ONNX_TYPES[tensor.datatype]}[{','.join(sizes)}] {name}"


def _files(identity: Identity) -> Mapping[str, str]:
    files = {"config.pbtxt": _config(identity), "1/model.py": _CODE}
    return files | {"labels.txt": "\n".join(identity.labels) + "\n"} if identity.labels else files


def _config(identity: Identity) -> str:
    labels = 'label_filename: "labels.txt"' if identity.labels else ""
    lines = ['backend: "python"', f"max_batch_size: {identity.largest_batch}"]
    for tensor in identity.tensors:
        kind = "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"
        rest = f"data_type: {kind} dims: {list(tensor.shape[1:] if identity.largest_batch else tensor.shape)}"
        lines.append(f'input [{{name: "{tensor.source}" {rest}}}]')
        lines.append(f'output [{{name: "{tensor.target}" {rest} {labels}}}]')
    lines.append("instance_group [{count: 1 kind: KIND_CPU}]")
    return "\n".join(lines) + "\n"


# NumPy 1 has no bfloat16, DLPack has.
_CODE = """\
import json

import triton_python_backend_utils as backend


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.tensors = [(i["name"], o["name"], i["data_type"]) for i, o in zip(config["input"], config["output"])]

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        wanted = request.requested_output_names()
        return backend.InferenceResponse(
            [self.copy(request, *tensor) for tensor in self.tensors if tensor[1] in wanted]
        )

    def copy(self, request, source, target, kind):
        tensor = backend.get_input_tensor_by_name(request, source)
        if kind == "TYPE_BF16":
            return backend.Tensor.from_dlpack(target, tensor.to_dlpack())
        return backend.Tensor(target, tensor.as_numpy())
"""
