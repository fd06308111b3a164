"""``compiler.build(..., check=data)``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.check import reference
from compiler.check.answers import ROUNDED, Difference, Expected
from compiler.check.find_layer import Compile, wrong_layer
from compiler.check.find_pass import wrong_pass
from compiler.program.compiled_model import CompiledModel
from compiler.program.operators import Operators
from compiler.workloads.precision import BFLOAT16

if TYPE_CHECKING:
    import onnx


class CheckFailed(RuntimeError):
    """The outputs of a compiled model are wrong. The message is one line: the output, and the pass or the layer."""


def check(
    compiled: CompiledModel,
    inputs: Mapping[str, np.ndarray],
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None,
    passes: Sequence[Any],
    optimized: onnx.ModelProto,
    compile_model: Compile,
) -> tuple[Difference, ...]:
    """Compares the outputs of a compiled model with those of ONNX Runtime, and returns the difference of each.

    Args:
        compiled: the model to check.
        inputs: arrays by name.
        model: the model as published; ``input_shapes`` and ``passes`` are what it was optimized with.
        optimized: the result of the passes.
        compile_model: lowers and compiles a model as ``compiled`` was.

    Raises:
        CheckFailed: an output is wrong.
        ValueError, TypeError: the inputs do not fit the model.
        RuntimeError: ONNX Runtime does not run the model.
        ModuleNotFoundError: onnxruntime is not installed.
    """
    from graph_passes.model_file import opened  # a program that loads saved models need not have onnx

    with contextlib.ExitStack() as stack:
        if isinstance(model, (str, os.PathLike)):  # an archive is extracted once
            model = stack.enter_context(opened(model))
        return _checked(compiled, inputs, model, input_shapes, passes, optimized, compile_model)


def _checked(
    compiled: CompiledModel,
    inputs: Mapping[str, np.ndarray],
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None,
    passes: Sequence[Any],
    optimized: onnx.ModelProto,
    compile_model: Compile,
) -> tuple[Difference, ...]:
    found = compiled.run(inputs)
    operators = compiled.operators
    expected = answers(model, inputs, operators)
    rounded = [layer.name for layer in compiled.layers if layer.dtype == BFLOAT16]
    if rounded:
        expected = expected.at_least(ROUNDED)
    differences = tuple(expected.compare(found))
    wrong = [d for d in differences if not d.ok]
    if not wrong:
        return differences
    if rounded:  # layers differ by more than a step of float32, so that none of them can be named
        count = f"{len(rounded)} layers compute in bfloat16, the first is {rounded[0]}"
        raise CheckFailed(f"the check failed: output {wrong[0]}; {count}; precision='float32' may pass")
    cause = wrong_pass(model, input_shapes, passes, inputs, expected, operators)
    if cause is None:
        cause = wrong_layer(optimized, inputs, expected, compile_model, operators)
        cause = f"compiled program: {cause}" if cause else "the compiled program is wrong, but no layer of it alone"
    raise CheckFailed(f"the check failed: output {wrong[0]}; {cause}")


def answers(
    model: str | os.PathLike[str] | onnx.ModelProto,
    inputs: Mapping[str, np.ndarray],
    operators: Operators | None = None,
) -> Expected:
    """Returns the right outputs of a model, and how far others may be from them.

    Raises:
        RuntimeError, ModuleNotFoundError: as :func:`check`.
    """
    import onnx

    plain = reference.run(model, inputs, operators=operators)
    proto = onnx.load(os.fspath(model)) if isinstance(model, (str, os.PathLike)) else model
    steps = reference.steps(proto, inputs, plain, operators) if reference.is_quantized(proto) else None
    return Expected.of(plain, reference.run(model, inputs, optimized=True, operators=operators), steps)
