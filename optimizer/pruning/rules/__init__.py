"""What each operator does with channels.

A rule is called for a node with at least one input that has channels, or that makes new ones. It gives the output a
view of its channels, joins channels that must be kept or removed together, and binds constants to channels. If it
cannot, it returns why; then all channels of the node's inputs are fixed, and its outputs have none that may be removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from optimizer.pruning.rules import elementwise, layout, parts, products, reshape, spatial
from optimizer.pruning.trace import Node, Shape, Trace, View

Rule: TypeAlias = Callable[[Node, Trace], "str | None"]


def _shaped(rule: Callable[[Node, Trace, View, Shape], str | None]) -> Rule:
    """Returns the rule of an operator whose first input must have channels and a known rank."""

    def apply(node: Node, trace: Trace) -> str | None:
        view, shape = trace.view(node.input(0)), trace.shape(node.input(0))
        if view is None or shape is None:
            return "the shape of its input is unknown"
        return rule(node, trace, view, shape)

    return apply


_UNARY = """
    Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish
    Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign
    Sqrt Swish Tan Tanh ThresholdedRelu
"""
_BROADCAST = """
    Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor
"""
_POOLS = "AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool"
_REDUCTIONS = """
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
"""

# Operators that make channels also without an input that has any.
SOURCES = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY.split(), elementwise.unary),
    **dict.fromkeys(_BROADCAST.split(), elementwise.broadcast),
    **dict.fromkeys(_POOLS.split(), spatial.pool),
    **dict.fromkeys(_REDUCTIONS.split(), _shaped(spatial.reduction)),
    "BatchNormalization": elementwise.per_channel,
    "Concat": layout.concat,
    "Conv": products.convolution,
    "ConvTranspose": products.transposed,
    "Dropout": elementwise.dropout,
    "Flatten": _shaped(reshape.flatten),
    "Gather": _shaped(parts.gather),
    "Gemm": products.gemm,
    "InstanceNormalization": elementwise.per_channel,
    "LogSoftmax": _shaped(spatial.softmax),
    "MatMul": products.matmul,
    "Pad": _shaped(spatial.pad),
    "Reshape": _shaped(reshape.reshape),
    "Resize": _shaped(spatial.resize),
    "Slice": _shaped(parts.cut),
    "Softmax": _shaped(spatial.softmax),
    "Split": _shaped(parts.split),
    "Squeeze": _shaped(layout.squeeze),
    "Transpose": _shaped(layout.transpose),
    "Unsqueeze": _shaped(layout.unsqueeze),
    "Upsample": _shaped(spatial.resize),
}
