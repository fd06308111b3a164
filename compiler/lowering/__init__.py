"""Which nodes of an optimized model our kernels compute, as layers."""

from compiler.lowering.select import Options, select

__all__ = ["Options", "select"]
