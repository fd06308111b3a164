"""Compiles a lowered model with TVM: imports it to Relax and builds an executable of the virtual machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
import tvm
from tvm import relax

from compiler.tvm_backend.codegen import tvm_target
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
    """

    module: tvm.IRModule
    executable: tvm.runtime.Executable


def compile_model(model: onnx.ModelProto, layers: Sequence[Layer], target: Target) -> Compiled:
    """Compiles a model without functions, whose calls of kernels refer to ``layers``.

    Raises:
        ValueError: as :func:`.importer.import_model`.
    """
    module = import_model(model, layers)
    # CompiledModel checks the inputs once per run. Code that checks them per call would take a third of the time of
    # compilation.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        executable = relax.build(module, tvm_target(target), relax_pipeline=relax_pipeline(target))
    return Compiled(module, executable)
