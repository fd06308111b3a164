"""Relax module -> executable of TVM's virtual machine."""

from __future__ import annotations

import tvm
from tvm import relax

from compiler.tvm_backend.generic_schedule import relax_pipeline
from compiler.tvm_backend.lowering import tvm_target
from compiler.workloads.target import Target


def compile_module(module: tvm.IRModule, target: Target) -> tvm.runtime.Executable:
    """Code for everything that is no call of a kernel, and the bytecode that calls both."""
    # Inputs are checked once, before a run; code that would do so at each call takes a third of the time to compile.
    with tvm.transform.PassContext(opt_level=3, config={"tirx.disable_assert": True}):
        return relax.build(module, tvm_target(target), relax_pipeline=relax_pipeline(target))
