"""Compiles a lowered model with TVM: imports it to Relax and builds an executable of the virtual machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import tvm
from tvm import relax

from compiler.partition.divide import divide, write_constant_outputs
from compiler.program.segment import Segment
from compiler.program.tensor_spec import TensorSpec
from compiler.sizes.size import Size
from compiler.tvm_backend.codegen import program_target
from compiler.tvm_backend.generic_schedule import relax_pipeline
from compiler.tvm_backend.importer import import_model, import_within
from compiler.tvm_backend.outline_branches import UPPER_BOUNDS
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target


class Unsupported(ValueError):
    """Nodes of the model cannot be compiled. The message is one line with all of them and the reasons."""


@dataclass(frozen=True)
class Compiled:
    """A compiled model.

    Attributes:
        module: the imported Relax module, before any pass of TVM; see :func:`.importer.import_model`.
        executable: the bytecode, and the generated code of everything except kernels.
        outputs: the outputs of ``main``, in its order.
        segments: the parts that ONNX Runtime runs.
    """

    module: tvm.IRModule
    executable: tvm.runtime.Executable
    outputs: tuple[TensorSpec, ...]
    segments: tuple[Segment, ...]


def compile_model(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    target: Target,
    fallback: bool,
    rejected: Mapping[int, str] | None = None,
) -> Compiled:
    """Compiles a model without functions, whose calls of kernels refer to ``layers``. Changes the model.

    Args:
        fallback: whether nodes that cannot be compiled become segments of ONNX Runtime.
        rejected: nodes that become segments even if they can be compiled, and the reasons.

    Raises:
        Unsupported: without ``fallback``, nodes cannot be compiled.
        ValueError: a segment is too large.
        RuntimeError: TVM fails to compile the program; one line.
    """
    write_constant_outputs(model.graph)
    imported = import_within(model, layers, rejected)
    segments: tuple[Segment, ...] = ()
    if imported.rejected:
        if not fallback:
            raise Unsupported("; ".join(dict.fromkeys(filter(None, imported.rejected.values()))))
        divided = divide(model, imported.rejected)
        segments = divided.segments
        imported = import_model(divided.model, layers, segments)
        if imported.rejected:
            raise Unsupported("; ".join(filter(None, imported.rejected.values())))
    return Compiled(imported.module, _executable(imported.module, target), imported.outputs, segments)


def compile_ranged(module: tvm.IRModule, target: Target, sizes: Sequence[Size]) -> tvm.runtime.Executable:
    """Compiles a module with symbolic sizes.

    Raises:
        RuntimeError: as :func:`compile_model`.
    """
    largest = {size.name: size.largest for size in sizes}
    module = module.clone()
    # Intermediate tensors of all sizes are in the memory that the largest ones need.
    module.update_func(module.get_global_var("main"), module["main"].with_attr(UPPER_BOUNDS, largest))
    return _executable(module, target, {size.name: size.typical for size in sizes})


def _executable(module: tvm.IRModule, target: Target, typical: Mapping[str, int] | None = None) -> Any:
    """Generates code. Schedules of functions with symbolic sizes are chosen for the sizes ``typical``."""
    # CompiledModel checks the inputs once per run. Code that checks them per call would take a third of the time of
    # compilation.
    try:
        with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
            return relax.build(module, program_target(target), relax_pipeline=relax_pipeline(target, typical or {}))
    except RuntimeError as error:  # a fault of TVM or of this project; TVM's text has many lines
        line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RuntimeError(f"the generated code cannot be compiled: {line.strip()}") from error
