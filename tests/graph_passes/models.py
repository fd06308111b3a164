"""Small models for tests, written in ONNX's text format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper, parser

import graph_passes
from graph_passes.base import Pass
from tests.graph_passes import oracle


def model(
    graph: str, opset: int = 18, seed: int = 0, **arrays: np.ndarray | float | Sequence[float]
) -> onnx.ModelProto:
    """The model of ``graph``, such as ``g (float[1,4] x) => (float[1,2] y) <float[4,2] w> { y = MatMul (x, w) }``.

    What is declared in ``<...>`` and no node makes becomes a weight: the array given by its name, else seeded normal
    values, positive where the name begins with "variance".
    """
    opsets = f'"" : {opset}, "custom" : 1, "com.microsoft" : 1'
    found = parser.parse_model(f"<ir_version: 10, opset_import: [{opsets}]> {graph}")
    made = {name for node in found.graph.node for name in node.output}
    rng = np.random.default_rng(seed)
    kept = [info for info in found.graph.value_info if info.name in made]
    for info in found.graph.value_info:
        if info.name in made:
            continue
        kind = info.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        random = rng.standard_normal(shape)
        if info.name.startswith("variance"):
            random = np.abs(random) + 0.5
        array = np.asarray(arrays.pop(info.name, random)).astype(dtype)
        found.graph.initializer.append(numpy_helper.from_array(array.reshape(shape), info.name))
    assert not arrays, f"no weights: {', '.join(arrays)}"
    del found.graph.value_info[:]
    found.graph.value_info.extend(kept)
    inferred = onnx.shape_inference.infer_shapes(found)  # types of outputs may be left out
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def either(output: str, condition: str, then: str, other: str) -> str:
    """The node of an If in ONNX's text format. A branch is its output and nodes: ``float[4] a { a = Exp (x) }``."""
    names = (("then_branch", then), ("else_branch", other))
    branches = [f"{name} = {output}_{name} () => ({text.replace(' {', ') {', 1)}" for name, text in names]
    return f"{output} = If ({condition}) <{', '.join(branches)}>"


def run_pass(original: onnx.ModelProto, a_pass: Pass | str) -> graph_passes.Optimized:
    """Runs one pass. Checks that the result is valid, computes the same outputs and does not change in a second run."""
    before = original.SerializeToString()
    optimized = graph_passes.optimize(original, passes=[a_pass])
    assert original.SerializeToString() == before, "the pass changed its argument"
    onnx.checker.check_model(optimized.model, full_check=True)
    oracle.assert_same(original, optimized.model, oracle.random_inputs(original, seed=1))
    again = graph_passes.optimize(optimized.model, passes=[a_pass])
    assert operators(again.model) == operators(optimized.model), "a second run changes the model"
    return optimized


def operators(proto: onnx.ModelProto) -> Mapping[str, int]:
    """Counts the nodes of each operator, without constants."""
    return Counter(node.op_type for node in proto.graph.node if node.op_type != "Constant")


def remarks(optimized: graph_passes.Optimized) -> str:
    """Returns the remarks of all passes, one per line."""
    return "\n".join(str(remark) for report in optimized.reports for remark in report.remarks)


def weights(proto: onnx.ModelProto) -> Mapping[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
