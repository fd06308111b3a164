"""The models of a benchmark: one recurrent layer, or copies of it that together do not fit the caches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import kernels
from compiler.workloads.workload import Workload

CELLS = ("lstm", "gru", "rnn")
STEPS, BATCHES, UNITS = (1, 10, 100, 1000), (1, 8), (32, 128, 512)
_MOST_COPIES = 256
_FLOAT_BYTES = 4


def workloads(cells: Sequence[str], directions: int, cold: bool) -> list[Workload]:
    """Layers with as many inputs as units; only short ones if weights come from memory, which is read once."""
    sizes = product(cells, UNITS, BATCHES, STEPS[:2] if cold else STEPS)
    return [Workload(cell, (directions, steps, batch, units, units)) for cell, units, batch, steps in sizes]


def copies_beyond_caches(workload: Workload) -> int:
    """Returns the number of layers whose weights take twice the memory of the caches."""
    weights = _FLOAT_BYTES * int(np.prod(workload.input_shapes["weight"]))
    return max(2, min(_MOST_COPIES, -(-2 * max(kernels.cache_bytes()) // weights)))


def model(workload: Workload, copies: int = 1, seed: int = 0) -> onnx.ModelProto:
    """Returns a model with the input x and two outputs: every h of the first layer, and the sum of all last h.

    All layers read x. Each has other weights, and a bias.
    """
    rng = np.random.default_rng(seed)
    s = workload.sizes
    directions, rows, columns = workload.input_shapes["weight"]
    attributes = {"hidden_size": s["units"], "direction": "forward" if directions == 1 else "bidirectional"}
    if workload.op == "gru":
        attributes["linear_before_reset"] = 1
    nodes, initializers = [], []
    for copy in range(copies):
        weight = rng.standard_normal((directions, rows, columns), np.float32) / np.float32(np.sqrt(columns))
        bias = rng.standard_normal((directions, 2 * rows), np.float32) / 4
        parts = {"w": weight[..., : s["inputs"]], "r": weight[..., s["inputs"] :], "b": bias}
        initializers += [numpy_helper.from_array(np.ascontiguousarray(a), f"{name}{copy}") for name, a in parts.items()]
        outputs = ["y" if copy == 0 else "", f"h{copy}"]
        inputs = ["x", *(f"{name}{copy}" for name in parts)]
        nodes.append(helper.make_node(workload.op.upper(), inputs, outputs, name=f"layer{copy}", **attributes))
    nodes.append(helper.make_node("Sum", [f"h{copy}" for copy in range(copies)], ["h"]))
    state = (directions, s["batch"], s["units"])
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, workload.input_shapes["x"])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in (("y", workload.output_shape), ("h", state))
        ],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
