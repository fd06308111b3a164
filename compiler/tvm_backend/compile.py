"""Compiles a lowered model with TVM: imports it to Relax and builds an executable of the virtual machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import tvm
from tvm import relax

from compiler.program.tensor_spec import TensorSpec
from compiler.tvm_backend.codegen import program_target
from compiler.tvm_backend.generic_schedule import relax_pipeline
from compiler.tvm_backend.importer import import_model
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target


@dataclass(frozen=True)
class Compiled:
    """A compiled model.

    Attributes:
        module: the imported Relax module, before any pass of TVM; see :func:`.importer.import_model`.
        executable: the bytecode, and the generated code of everything except kernels.
        outputs: the outputs of ``main``, in its order.
    """

    module: tvm.IRModule
    executable: tvm.runtime.Executable
    outputs: tuple[TensorSpec, ...]


def compile_model(model: onnx.ModelProto, layers: Sequence[Layer], target: Target) -> Compiled:
    """Compiles a model without functions, whose calls of kernels refer to ``layers``.

    Raises:
        ValueError: as :func:`.importer.import_model`.
        RuntimeError: TVM fails to compile the program; one line.
    """
    imported = import_model(model, layers)
    # CompiledModel checks the inputs once per run. Code that checks them per call would take a third of the time of
    # compilation.
    try:
        with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
            executable = relax.build(imported.module, program_target(target), relax_pipeline=relax_pipeline(target))
    except RuntimeError as error:  # a fault of TVM or of this project; TVM's text has many lines
        line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RuntimeError(f"the generated code cannot be compiled: {line.strip()}") from error
    return Compiled(imported.module, executable, imported.outputs)
