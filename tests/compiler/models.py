"""Small models for the tests of the compiler, and the comparison with ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.shape_inference

import compiler
from tests.graph_passes import oracle
from tests.graph_passes.models import model

__all__ = ["assert_answers", "built", "graph", "kernels_of", "model", "perceptron"]


def graph(inputs: str, weights: str, statements: Mapping[str, str], opset: int = 18, **arrays: Any) -> onnx.ModelProto:
    """Returns a model with one float32 output per statement, named by the statement's key. Shapes are inferred.

    A statement is in ONNX's text format. ``@`` stands for the output's name, which must also be the prefix of names
    that are local to the statement. Weights are the arrays of that name, or else seeded normal values.
    """
    body = " ".join(statement.replace("@", name) for name, statement in statements.items())
    outputs = ", ".join(f"float[] {name}" for name in statements)
    text = f"g ({inputs}) => ({outputs}) <{weights}> {{ {body} }}"
    found = onnx.parser.parse_model(f'<ir_version: {11 if opset >= 23 else 10}, opset_import: ["" : {opset}]> {text}')
    rng = np.random.default_rng(0)
    for info in found.graph.value_info:
        kind = info.type.tensor_type
        shape = [dim.dim_value for dim in kind.shape.dim]
        array = np.asarray(arrays.pop(info.name) if info.name in arrays else rng.standard_normal(shape))
        array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).reshape(shape)
        found.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    assert not arrays, f"no weights: {', '.join(arrays)}"
    del found.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(found, data_prop=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def perceptron(rows: int = 3) -> onnx.ModelProto:
    """Two dense layers with ReLU between them, and a Softplus, which no kernel supports as an epilogue."""
    return model(
        f"g (float[{rows},8] x) => (float[{rows},5] y) <float[8,16] w, float[16] b, float[16,5] v>"
        "{ a = MatMul (x, w) c = Add (a, b) d = Relu (c) e = MatMul (d, v) f = Softplus (e) y = Neg (f) }"
    )


def kernels_of(built: compiler.CompiledModel) -> Counter[str]:
    """Returns the number of calls of each kernel in a run. Equal layers are one layer with several calls."""
    return Counter(layer.op for layer in built.layers for _ in range(layer.calls))


def built(
    original: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray] | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    **options: Any,
) -> compiler.CompiledModel:
    """The model compiled for one thread without Winograd's algorithms.

    Its answers are compared, and with those of the model after it was saved and loaded.
    """
    found = compiler.build(original, input_shapes, **{"threads": 1, "fast_algorithms": False, **options})
    inputs = oracle.random_inputs(original, seed=1) if inputs is None else inputs
    assert_answers(found, original, inputs)
    assert_survives_saving(found, inputs)
    return found


def assert_survives_saving(found: compiler.CompiledModel, inputs: Mapping[str, np.ndarray]) -> None:
    """The loaded model has the same layers and gives the same bits."""
    with tempfile.TemporaryDirectory() as folder:
        found.save(Path(folder) / "model.lw")
        loaded = compiler.load(Path(folder) / "model.lw")
        assert [layer.to_json({}) for layer in loaded.layers] == [layer.to_json({}) for layer in found.layers]
        expected = found.run(inputs)
        for name, answer in loaded.run(inputs).items():
            assert answer.tobytes() == expected[name].tobytes(), name


def assert_answers(
    found: compiler.CompiledModel | compiler.RangedModel, original: onnx.ModelProto, inputs: Mapping[str, np.ndarray]
) -> None:
    """Compares each output with ONNX Runtime's, within the bounds of ``oracle.answers_and_tolerances``."""
    expected, allowed = oracle.answers_and_tolerances(original, inputs)
    answers = found.run(inputs)
    assert list(answers) == [output.name for output in original.graph.output]
    for (name, got), want, limit in zip(answers.items(), expected, allowed, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape), name
        if want.dtype.kind not in "fc":
            np.testing.assert_array_equal(got, want, err_msg=name)
            continue
        difference = np.abs(got.astype(np.float64) - want)
        known = ~np.isnan(want)
        np.testing.assert_array_equal(~np.isnan(got), known, err_msg=name)
        worst = difference[known].max(initial=0.0)
        assert worst <= limit, f"{name}: the largest difference is {worst:.3g}, allowed is {limit:.3g}"
