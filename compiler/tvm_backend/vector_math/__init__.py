"""Functions of float32 as arithmetic that TVM vectorizes. TVM would call the C library for each lane.

Each states the bound of its error in ulp, units in the last place of the result. They return what C's functions do for
zeros, infinities and NaN, and subnormals as the mode of the thread says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm_ffi
from tvm import ir, tirx

from compiler.tvm_backend.vector_math.exponential import erf, exp, sigmoid, tanh
from compiler.tvm_backend.vector_math.expressions import Expr, clip, is_nan, let
from compiler.tvm_backend.vector_math.logarithm import log, log1p
from compiler.tvm_backend.vector_math.power import power
from compiler.tvm_backend.vector_math.trigonometric import acos, asin, atan, cos, sin, tan

__all__ = ["FUNCTIONS", "Expr", "clip", "erf", "let", "operator_name", "power", "sigmoid", "tanh", "vectorizable"]

FUNCTIONS: Mapping[str, Callable[[Expr], Expr]] = {
    "tirx.acos": acos,
    "tirx.asin": asin,
    "tirx.atan": atan,
    "tirx.cos": cos,
    "tirx.erf": erf,
    "tirx.exp": exp,
    "tirx.log": log,
    "tirx.log1p": log1p,
    "tirx.sigmoid": sigmoid,
    "tirx.sin": sin,
    "tirx.tan": tan,
    "tirx.tanh": tanh,
}
_EXTERN, _POW, _IS_NAN = "tirx.call_pure_extern", "powf", "tirx.isnan"
# TVM does not vectorize loops with this operator; it does with LLVM's function of the same name.
_NEARBYINT = "tirx.nearbyint"


def vectorizable(function: Any) -> Any:
    """Replaces the calls of these functions of float32 in a function, or in an expression, by arithmetic."""

    def rewrite(call: Any) -> Any:
        name = operator_name(call)
        if name == _IS_NAN and call.args[0].ty == ir.PrimType("float32"):
            return is_nan(call.args[0])
        if name == _NEARBYINT:
            return tirx.call_llvm_pure_intrin(call.ty, "llvm.nearbyint", call.args[0])
        if call.ty != ir.PrimType("float32"):
            return call
        if name in FUNCTIONS:
            return FUNCTIONS[name](call.args[0])
        if name == _EXTERN and call.args[0].value == _POW:
            return power(call.args[1], call.args[2])
        return call

    return tvm_ffi.structural_map(function, (ir.Call, rewrite))


def operator_name(call: Any) -> str:
    """Returns the name of the called operator; empty if the callee is a function."""
    return call.op.name if isinstance(call.op, ir.Op) else ""  # type: ignore[attr-defined]
