"""Compiles a Relax module to an executable of TVM's virtual machine."""

from __future__ import annotations

import tvm
from tvm import relax

from compiler.tvm_backend.codegen import tvm_target
from compiler.tvm_backend.generic_schedule import relax_pipeline
from compiler.workloads.target import Target


def compile_module(module: tvm.IRModule, target: Target) -> tvm.runtime.Executable:
    """Generates code for everything except calls of kernels, and the bytecode that calls both."""
    # CompiledModel checks the inputs once per run. Code that checks them per call would take a third of the time of
    # compilation.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        return relax.build(module, tvm_target(target), relax_pipeline=relax_pipeline(target))
