"""The mean squares of channels on samples, from runs in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from optimizer.pruning.groups import Groups
from optimizer.samples import Samples
from optimizer.session import Session

_AXES_AS_INPUT = 18  # the first opset in which the axes of ReduceMean are an input


def powers(model: onnx.ModelProto, groups: Groups, samples: Samples, threads: int | None) -> dict[str, np.ndarray]:
    """Returns the mean square of each place along the channels, for each float tensor that a layer reads.

    The model computes the sums itself, as extra outputs, so that tensors stay within the runtime.

    Raises:
        ValueError: ONNX Runtime does not run the model.
    """
    measuring = onnx.ModelProto()
    measuring.CopyFrom(model)
    graph = measuring.graph
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    opset = max(each.version for each in model.opset_import if each.domain in ("", "ai.onnx"))
    names = [name for name in groups.reads if name in ranks]
    if not names:
        return {}
    del graph.output[:]
    for index, name in enumerate(names):
        axes = [axis for axis in range(ranks[name]) if axis != groups.reads[name][0]]
        graph.node.append(helper.make_node("Mul", [name, name], [f"power/{index}/square"]))
        inputs = [f"power/{index}/square"]
        if opset >= _AXES_AS_INPUT:
            inputs.append(f"power/{index}/axes")
            graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), inputs[1]))
        node = helper.make_node("ReduceMean", inputs, [f"power/{index}"], keepdims=0)
        if opset < _AXES_AS_INPUT:
            node.attribute.append(helper.make_attribute("axes", axes))
        graph.node.append(node)
        graph.output.append(helper.make_tensor_value_info(f"power/{index}", onnx.TensorProto.FLOAT, None))
    session = Session(measuring, threads)
    runs = [session(inputs) for inputs in samples]  # all runs have equally many samples
    return {
        name: np.asarray(np.mean([run[f"power/{index}"] for run in runs], axis=0, dtype=np.float64))
        for index, name in enumerate(names)
    }
