"""The table of operators with their forms."""

from __future__ import annotations

from collections.abc import Mapping

from graph_passes.base import DOMAIN
from graph_passes.layout.axes import is_image
from graph_passes.layout.edit import Form, Rule
from graph_passes.layout.followers import (
    along_axis,
    elementwise_form,
    gather_form,
    pad_form,
    reduction_form,
    resize_form,
    sizes_form,
    slice_form,
)
from graph_passes.layout.functions import FUNCTIONS, convolutions, function_form, group_norm_form, layer_form
from graph_passes.layout.reshapes import reshape_form, transpose_form
from graph_passes.lazy import ir
from graph_passes.patterns.group_norm import NAME as GROUP_NORM
from graph_passes.values import STANDARD

ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Celu Clip
    Cos Cosh Div Dropout Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
    LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink
    Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor""".split()
REDUCTIONS = """
    ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare""".split()

# The rule of each operator. Operators that are not listed keep their layout.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise_form),
    **dict.fromkeys(REDUCTIONS, reduction_form),
    **dict.fromkeys(FUNCTIONS, function_form),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshape_form),
    **dict.fromkeys(("Expand", "Tile"), sizes_form),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), along_axis(-1)),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), along_axis(1)),
    "Concat": along_axis(None, all_inputs=True),
    "Gather": gather_form,
    "Pad": pad_form,
    "Resize": resize_form,
    "Slice": slice_form,
    "Split": along_axis(0),
    "Transpose": transpose_form,
}


def form_of(node: ir.Node) -> Form | str:
    """Returns the form of a node, or why it has none; "" if no input or output is an image."""
    if not any(is_image(value) for value in (*node.inputs, *node.outputs)):
        return ""
    layers = convolutions(node)
    if layers:
        return "" if layers[-1].channels_last else layer_form(node, layers)
    if node.domain == DOMAIN and node.op_type == GROUP_NORM:
        return group_norm_form(node)
    rule = RULES.get(node.op_type) if node.domain in STANDARD else None
    return "it has no form with channels last" if rule is None else rule(node)
