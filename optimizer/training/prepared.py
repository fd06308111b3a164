"""The form of a model in which it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from optimizer.graphs import constants_to_initializers, in_opset, loaded, name_nodes, separate_vectors, with_outputs
from optimizer.session import Session
from optimizer.training.onnx_module import OnnxModule

PASSES = ("inline_functions", "fold_constants")  # batch normalizations stay, because they are trained
OLDEST_OPSET, OPSET = 13, 18  # the first one whose Softmax is over one axis; what older models are converted to
_EXPORT = "export it with a first axis of any size"
_CLOSE = 1e-3  # of the largest logit: sums in another order differ by less


@dataclass(frozen=True)
class Classifier:
    """A model that is trained or that teaches.

    Attributes:
        original: with names and without functions.
        model: the same, but it takes any number of samples.
        logits: the name of the tensor that softmax makes probabilities, (samples, classes).
    """

    original: onnx.ModelProto
    model: onnx.ModelProto
    logits: str

    def module(self, features: Sequence[str] = ()) -> OnnxModule:
        """Returns a module that computes logits, and further tensors."""
        return OnnxModule(self.model, [self.logits, *features])

    @property
    def tensors(self) -> set[str]:
        """The names of all tensors that the graph computes."""
        return {name for node in self.model.graph.node for name in node.output if name}


def classifier(model: str | Path | onnx.ModelProto) -> Classifier:
    """Returns a classifier in the form in which it is trained.

    Raises:
        ValueError: the model is not valid, its opset cannot be converted, or it has no output of rank 2, or several.
            The message is one line.
        OSError: a file cannot be read.
    """
    proto = in_opset(loaded(model, PASSES), OLDEST_OPSET, OPSET, "cannot be converted")
    constants_to_initializers(proto.graph)
    separate_vectors(proto.graph)  # exporters share equal ones, such as biases of zeros
    name_nodes(proto.graph)
    proto = onnx.shape_inference.infer_shapes(proto)
    logits = _logits(proto.graph)
    return Classifier(proto, _of_any_batch(proto), logits)


def check(found: Classifier, inputs: Mapping[str, np.ndarray]) -> None:
    """Checks that PyTorch computes what ONNX Runtime computes for each sample alone.

    Args:
        found: the model.
        inputs: a few samples.

    Raises:
        ValueError: it does not; the message is one line.
    """
    module = found.module().eval()
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in inputs.items()}
    try:
        with torch.no_grad():
            (got,) = module(tensors)
    except ValueError as error:
        if found.model is found.original:
            raise
        raise ValueError(f"the model does not take several samples at once: {_EXPORT} ({error})") from None
    session = Session(with_outputs(found.model, found.logits))
    count = len(next(iter(inputs.values())))
    wanted = np.concatenate(
        [session({name: array[i : i + 1] for name, array in inputs.items()})[found.logits] for i in range(count)]
    )
    if got.shape != wanted.shape:
        raise ValueError(f"the model does not take several samples at once: {_EXPORT}")
    scale = max(float(np.abs(wanted).max()), 1e-30)
    if not np.abs(got.numpy() - wanted).max() <= _CLOSE * scale:
        raise ValueError(
            f"PyTorch's answers differ from those of ONNX Runtime; if the model takes one sample at once, {_EXPORT}"
        )


def _logits(graph: onnx.GraphProto) -> str:
    """Returns the name of the only output of rank 2, or of what its softmax reads."""
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.output}
    floats = [
        value.name
        for value in graph.output
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and ranks[value.name] == 2
    ]
    if len(floats) != 1:
        names = ", ".join(f"{name} (rank {rank})" for name, rank in ranks.items())
        raise ValueError(f"a classifier has one output of shape (samples, classes); the model has {names}")
    maker = next((node for node in graph.node if floats[0] in node.output), None)
    if maker is not None and maker.op_type in ("Softmax", "LogSoftmax"):
        return maker.input[0]
    return floats[0]


def _of_any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with a first axis of any size if it was fixed; :func:`check` finds out whether it works."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sizes = {
        value.type.tensor_type.shape.dim[0].dim_value
        for value in graph.input
        if value.name not in weights and value.type.tensor_type.shape.dim
    }
    if len(sizes) != 1 or not (batch := sizes.pop()):
        return model
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    for value in (*freed.graph.input, *freed.graph.output):
        if value.name not in weights and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "samples"
    del freed.graph.value_info[:]
    for node in freed.graph.node:
        shape = weights.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or not (numbers := numpy_helper.to_array(shape).tolist()) or numbers[0] != batch:
            continue
        numbers[0] = 0 if -1 in numbers else -1
        name = f"{node.name}/{node.input[1]}/samples"
        freed.graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
        node.input[1] = name
        for attribute in [each for each in node.attribute if each.name == "allowzero"]:
            node.attribute.remove(attribute)  # with it, 0 is a size
    return freed
