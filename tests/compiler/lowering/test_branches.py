"""Layers inside the branches of an If run as kernels, whichever branch runs: against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest

from tests.compiler.models import built, kernels_of, model
from tests.graph_passes.models import either

BRANCHES = {
    "images": (
        "float[1,3,9,7] x",
        "float[1,4,7,5] {out}",
        "{t} = Conv (x, w) {u} = Relu ({t}) {v} = Conv <pads = [1,1,1,1]> ({u}, r) {out} = Add ({v}, {t})",
        "float[4,3,3,3] w, float[4,4,3,3] r",
        {"conv2d": 4},
    ),
    "images of one axis": (
        "float[2,3,20] x",
        "float[2,8,18] {out}",
        "{t} = Conv (x, w) {u} = Sigmoid ({t}) {out} = Add ({u}, shift)",
        "float[8,3,3] w, float[8,1] shift",
        {"conv2d": 2},
    ),
    "an activation without a kernel": (
        "float[5,6] x",
        "float[5,8] {out}",
        "{t} = MatMul (x, w) {u} = HardSigmoid ({t}) {out} = MatMul ({u}, r)",
        "float[6,8] w, float[8,8] r",
        {"dense": 4},
    ),
    "a value from outside": (
        "float[1,3,9,7] x",
        "float[1,5,9,7] {out}",
        "{out} = Conv (outside, v)",
        "float[4,3,1,1] w, float[5,4,1,1] v",
        {"conv2d": 3},
    ),
}
OUTSIDE = "outside = Conv (x, w)"


def branching(case: str, other: str = "") -> onnx.ModelProto:
    """Returns y = If (c) {layers (x)} else {2 layers (x)}; the second branch also has the nodes ``other``."""
    x, output, layers, weights, _ = BRANCHES[case]

    def branch(name: str, out: str, inner: str, rest: str) -> str:
        nodes = layers.format(out=inner, **{part: f"{name}_{part}" for part in "tuv"})
        return f"{output.format(out=out)} {{ {nodes} {rest} }}"

    two = other or "two = Constant <value_float = 2.0> ()"
    node = either("y", "c", branch("then", "a", "a", ""), branch("else", "b", "d", f"{two} b = Mul (d, two)"))
    outside = OUTSIDE if "outside" in layers else ""
    return model(f"g (bool c, {x}) => ({output.format(out='y')}) <{weights}> {{ {outside} {node} }}")


def inputs(proto: onnx.ModelProto, condition: bool) -> Mapping[str, np.ndarray]:
    (x,) = (value for value in proto.graph.input if value.name == "x")
    shape = [dim.dim_value for dim in x.type.tensor_type.shape.dim]
    return {"c": np.array(condition), "x": np.random.default_rng(3).standard_normal(shape, np.float32)}


@pytest.mark.tvm
@pytest.mark.parametrize("case", BRANCHES)
def test_layers_of_both_branches_are_kernels(case: str) -> None:
    proto = branching(case)
    for condition in (True, False):
        found = built(proto, inputs(proto, condition))
        assert kernels_of(found) == BRANCHES[case][-1]
        assert not found.segments


@pytest.mark.tvm
@pytest.mark.parametrize("case", BRANCHES)
def test_onnx_runtime_runs_branches_that_cannot_be_compiled(case: str) -> None:
    proto = branching(case, "f = Unique (x) n = Size (f) m = Cast <to = 1> (n) o = Div (m, m) two = Add (o, o)")
    for condition in (True, False):
        assert len(built(proto, inputs(proto, condition)).segments) == 1


@pytest.mark.tvm
def test_nested_branches_and_a_weight_of_a_branch() -> None:
    first = "float[4,5] e { p = MatMul (x, w) e = MatMul (p, v) }"
    second = "float[4,5] f { q = Slice (x, zero, five, one) f = MatMul (q, v) }"
    third = "float[4,5] b { r = Slice (x, zero, five, one) b = Neg (r) }"
    weights = "float[5,5] v, float[6,5] w, int64[1] zero, int64[1] five, int64[1] one"
    nested = f"float[4,5] a {{ {either('a', 'd', first, second)} }}"
    proto = model(
        f"g (bool c, bool d, float[4,6] x) => (float[4,5] y) <{weights}> {{ {either('y', 'c', nested, third)} }}",
        zero=[0],
        five=[5],
        one=[1],
    )
    branch = next(a.g for a in proto.graph.node[0].attribute if a.name == "then_branch")
    inner = next(a.g for a in branch.node[0].attribute if a.name == "then_branch")
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == "w")
    inner.initializer.append(weight)
    proto.graph.initializer.remove(weight)
    x = np.random.default_rng(5).standard_normal((4, 6), np.float32)
    for c, d in ((True, True), (True, False), (False, True)):
        found = built(proto, {"c": np.array(c), "d": np.array(d), "x": x})
        assert kernels_of(found) == {"dense": 3}
        assert len(found.layers) == 2  # v is one layer, which two branches call
