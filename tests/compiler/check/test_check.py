"""``build(..., check=data)``: right models pass, and the pass or layer that is wrong is named."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest

import compiler
import compiler.check.reference
from compiler.build import passes_of_build
from compiler.check.check import answers
from compiler.check.find_pass import wrong_pass
from compiler.lowering import lower as lowering
from compiler.lowering.lower import Lowered
from graph_passes import DEFAULT_PASSES, Pass, Remark
from graph_passes.base import every_node
from graph_passes.lazy import ir
from graph_passes.values import constant, is_op, new_constant
from tests.compiler.models import perceptron
from tests.graph_passes import oracle
from tests.graph_passes.models import model

pytestmark = pytest.mark.tvm

NETWORK = model(
    """g (float[1,4,8,8] x) => (float[1,5] y) <float[8,4,3,3] w, float[8] b, float[8,5] v, float[1,8] c> {
        first = Conv <pads = [1,1,1,1]> (x, w, b)
        bent = Relu (first)
        pooled = GlobalAveragePool (bent)
        flat = Flatten (pooled)
        shifted = Mul (flat, c)
        soft = Softplus (shifted)
        dense = MatMul (soft, v)
        y = Sigmoid (dense)
    }"""
)


def inputs_of(original: onnx.ModelProto) -> dict[str, np.ndarray]:
    return oracle.random_inputs(original, seed=3)


def built(original: onnx.ModelProto = NETWORK, **options: Any) -> compiler.CompiledModel:
    return compiler.build(original, threads=1, **{"check": inputs_of(original), **options})


def failure(original: onnx.ModelProto = NETWORK, **options: Any) -> str:
    """Builds a model whose check fails, and returns its one line."""
    with pytest.raises(compiler.CheckFailed) as failed:
        built(original, **options)
    message = str(failed.value)
    assert message.startswith("the check failed: output ")
    assert "\n" not in message
    return message


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Lowered], Lowered]], None]:
    """Returns a function that lets another function change every lowered model, as a bug in lowering would."""
    right = lowering.lower

    def change(wrong: Callable[[Lowered], Lowered]) -> None:
        monkeypatch.setattr(lowering, "lower", lambda *arguments: wrong(right(*arguments)))

    return change


@pytest.mark.parametrize("original", [NETWORK, perceptron()], ids=["convolution", "perceptron"])
def test_a_right_model_passes(original: onnx.ModelProto) -> None:
    found = built(original)
    assert found.checked is not None
    (checked,) = found.checked
    assert checked.name == "y"
    assert checked.error < 1e-5
    assert compiler.build(original, threads=1).checked is None


def test_a_file(tmp_path: Path) -> None:
    onnx.save(NETWORK, tmp_path / "model.onnx")
    assert compiler.build(tmp_path / "model.onnx", threads=1, check=inputs_of(NETWORK)).checked


def test_inputs_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"^inputs: x missing; z unknown"):
        built(check={"z": np.zeros(3, np.float32)})
    with pytest.raises(TypeError, match="input x must be float32"):
        built(check={"x": np.zeros((1, 4, 8, 8))})


def test_nan_in_the_data_is_compared() -> None:
    original = model("g (float[2,4] x) => (float[2,4] y) { a = Add (x, x) y = Neg (a) }")
    x = np.array([[1, np.nan, np.inf, -np.inf], [0, -1, 2, np.nan]], np.float32)
    found = built(original, check={"x": x})
    assert found.checked is not None
    assert found.checked[0].error == 0


# Passes


@dataclass(frozen=True)
class Scales(Pass):
    """A pass with a bug: it multiplies the weights of one operator by 1.01."""

    name: ClassVar[str] = "scales"
    op_type: str = "MatMul"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        for node in every_node(model):
            if is_op(node, self.op_type):
                weight = constant(node.inputs[1])
                assert weight is not None
                node.replace_input_with(1, new_constant(model.graph, "scaled", weight * np.float32(1.01)))
        yield Remark("here", "scaled")


@dataclass(frozen=True)
class Breaks(Pass):
    """A pass with a bug: its result is not a valid model."""

    name: ClassVar[str] = "breaks"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        for node in list(every_node(model)):
            if is_op(node, "MatMul"):
                node.replace_input_with(1, new_constant(model.graph, "narrow", np.ones((3, 5), np.float32)))
        yield Remark("here", "broken")


@pytest.mark.parametrize(("op_type", "value"), [("MatMul", "dense"), ("Conv", "first")])
@pytest.mark.parametrize("place", [1, 3])
def test_a_wrong_pass_is_named(op_type: str, value: str, place: int) -> None:
    passes = [*DEFAULT_PASSES[:place], Scales(op_type), *DEFAULT_PASSES[place:]]
    message = failure(passes=passes)
    assert "; graph pass scales: output y differs by " in message
    assert re.search(rf"; first at {op_type} \w+: {value} differs by 0\.0\d+ of its scale", message)


def test_a_pass_whose_result_does_not_run_is_named() -> None:
    inputs = inputs_of(NETWORK)
    found = wrong_pass(NETWORK, None, [Breaks()], inputs, answers(NETWORK, inputs))
    assert found is not None
    assert found.startswith("graph pass breaks: ONNX Runtime does not run the model: ")


def test_right_passes() -> None:
    inputs = inputs_of(NETWORK)
    assert wrong_pass(NETWORK, None, passes_of_build(), inputs, answers(NETWORK, inputs)) is None


# The compiled program


def changed_operator(op_type: str, other: str) -> Callable[[Lowered], Lowered]:
    """Computes another operator, as a wrong converter would."""

    def wrong(found: Lowered) -> Lowered:
        changed = onnx.ModelProto()
        changed.CopyFrom(found.model)
        for node in changed.graph.node:
            if node.op_type == op_type:
                node.op_type = other
        return Lowered(changed, found.layers)

    return wrong


def test_a_wrong_operator_is_named(lowered: Callable[[Callable[[Lowered], Lowered]], None]) -> None:
    lowered(changed_operator("Softplus", "Softsign"))
    message = failure()
    assert "; compiled program: Softplus " in message
    assert "soft differs by " in message
    assert message.endswith("on the same inputs")


@pytest.mark.parametrize(("op", "start"), [("conv2d", "Conv"), ("dense", "MatMul")])
def test_a_wrong_kernel_is_named(lowered: Callable[[Callable[[Lowered], Lowered]], None], op: str, start: str) -> None:
    def wrong(found: Lowered) -> Lowered:
        layers = [
            dataclasses.replace(layer, weights={k: array * np.float32(1.01) for k, array in layer.weights.items()})
            if layer.op == op
            else layer
            for layer in found.layers
        ]
        assert op in [layer.op for layer in layers]
        return Lowered(found.model, tuple(layers))

    lowered(wrong)
    assert f"; compiled program: {start}" in failure()


def test_nan_that_the_program_loses_is_an_error(lowered: Callable[[Callable[[Lowered], Lowered]], None]) -> None:
    original = model("g (float[2,4] x) => (float[2,4] y) { a = Sqrt (x) y = Neg (a) }")
    lowered(changed_operator("Sqrt", "Abs"))
    message = failure(original, check={"x": np.array([[-1, 0, 1, 1]] * 2, np.float32)})
    assert "y differs by inf of its scale" in message
    assert "compiled program: Sqrt" in message


def test_an_error_that_only_fusion_shows_is_found(lowered: Callable[[Callable[[Lowered], Lowered]], None]) -> None:
    """The operator is wrong only in programs with few outputs, as a fused kernel would be."""
    wrong = changed_operator("Softplus", "Softsign")
    lowered(lambda found: wrong(found) if len(found.model.graph.output) <= 2 else found)
    message = failure()
    assert "; compiled program: fused with other layers, Softplus " in message


def test_errors_that_add_up_name_the_largest(lowered: Callable[[Callable[[Lowered], Lowered]], None]) -> None:
    """Twenty layers, each wrong by less than is allowed."""
    nodes = " ".join(f"a{n + 1} = Mul (a{n}, k)" for n in range(20))
    original = model(f"g (float[2,8] a0) => (float[2,8] y) <float[8] k> {{ {nodes} y = Neg (a20) }}", k=np.full(8, 1.5))

    def wrong(found: Lowered) -> Lowered:
        changed = onnx.ModelProto()
        changed.CopyFrom(found.model)
        for tensor in changed.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if array.dtype == np.float32:
                tensor.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1 + 5e-5), tensor.name))
        return Lowered(changed, found.layers)

    lowered(wrong)
    passes = ["freeze_shapes"]  # the others compute the product of the constants
    message = failure(original, passes=passes)
    assert "compiled program: no layer alone is wrong, their errors add up; the largest: Mul " in message


def test_a_model_that_the_reference_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: Any, **__: Any) -> dict[str, np.ndarray]:
        raise RuntimeError("ONNX Runtime does not run the model: a reason")

    monkeypatch.setattr(compiler.check.reference, "run", run)
    with pytest.raises(RuntimeError, match=r"^ONNX Runtime does not run the model: a reason$"):
        built()
