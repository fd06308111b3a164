"""Which nodes of an optimized model our kernels compute, as layers."""

from compiler.kernel_calls.select import DOMAIN, Options, select

__all__ = ["DOMAIN", "Options", "select"]
