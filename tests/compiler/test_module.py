"""Further work in TVM: with the optimized graph alone, and with the module of a compiled model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import compiler
import graph_passes
from tests.compiler.models import assert_answers, graph
from tests.graph_passes import oracle

pytestmark = pytest.mark.tvm


@pytest.fixture(scope="module")
def original() -> onnx.ModelProto:
    return graph(
        "float[1,4,9,9] x",
        "float[8,4,3,3] w, float[8] b, float[8,5] v, int64[2] shape",
        {"y": "c = Conv (x, w, b) r = Relu (c) p = GlobalAveragePool (r) f = Reshape (p, shape) @ = MatMul (f, v)"},
        shape=np.array([1, 8]),
    )


@pytest.fixture(scope="module")
def inputs(original: onnx.ModelProto) -> dict[str, np.ndarray]:
    return oracle.random_inputs(original, seed=1)


def assert_same(original: onnx.ModelProto, inputs: dict[str, np.ndarray], answer: np.ndarray) -> None:
    (expected,), (allowed,) = oracle.answers_and_tolerances(original, inputs)
    assert answer.shape == expected.shape
    assert np.abs(answer - expected).max() <= allowed


def virtual_machine(executable: Any) -> Any:
    import tvm
    from tvm import relax

    cpu: Any = tvm.cpu()
    return relax.VirtualMachine(executable, cpu)


def test_tvm_compiles_the_optimized_graph(original: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    optimized = graph_passes.optimize(original, input_shapes={"x": (1, 4, 9, 9)})
    frontend: Any = from_onnx  # TVM annotates the parameter as a graph
    machine = virtual_machine(relax.build(frontend(graph_passes.inline(optimized.model)), "llvm"))
    answer = machine["main"](tvm.runtime.tensor(inputs["x"]))
    assert_same(original, inputs, answer.numpy())


def test_the_module_can_be_built_by_tvm(original: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    import tvm
    from tvm import relax

    built = compiler.build(original, threads=1)
    assert_answers(built, original, inputs)
    assert isinstance(built.module, tvm.IRModule)
    text = str(built.module)
    for layer in built.layers:
        assert f'"{layer.function}"' in text
    machine = virtual_machine(relax.build(built.module, "llvm"))
    (answer,) = machine["main"](tvm.runtime.tensor(inputs["x"]), built.layers_object)
    np.testing.assert_array_equal(answer.numpy(), built.run(inputs)["y"])


def test_the_former_name_of_fast_algorithms(original: onnx.ModelProto) -> None:
    renamed: dict[str, Any] = {"winograd": False}
    with pytest.raises(TypeError, match="no argument 'winograd'; use 'fast_algorithms'"):
        compiler.build(original, threads=1, **renamed)
