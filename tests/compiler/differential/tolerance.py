"""How much the answer of a correct program may differ, by operator, data type and number of terms."""

from __future__ import annotations

import math
from collections.abc import Sequence

import ml_dtypes
import numpy as np

# Operators that only choose or move elements, or round them to integers: equal bits.
EXACT = frozenset(
    "Abs ArgMax ArgMin BitCast Ceil CenterCropPad Clip Compress Concat ConstantOfShape DepthToSpace Expand EyeLike "
    "Flatten Floor Gather GatherElements GatherND GlobalMaxPool Hardmax Identity Max MaxPool MaxUnpool Min Neg "
    "NonMaxSuppression NonZero OneHot Pad ReduceMax ReduceMin Relu Reshape ReverseSequence Round Scatter "
    "ScatterElements ScatterND Shape Shrink Sign Size Slice SpaceToDepth Split Squeeze TensorScatter ThresholdedRelu "
    "Tile TopK Transpose Trilu Unique Unsqueeze Where".split()
)
# Functions of one number whose relative error is bounded everywhere, also near zero or far out.
RELATIVE = frozenset(
    "Asinh Atan Cast CastLike Div Erf Exp LeakyRelu Log Mul PRelu Pow Reciprocal Sigmoid Sinh Cosh Softplus Softsign "
    "Sqrt Tan Tanh".split()
)
# Functions of one number whose terms cancel, so that their error is relative to the terms.
ABSOLUTE = frozenset(
    "Acos Acosh Add AffineGrid Asin Atanh BlackmanWindow Celu Cos Dropout Elu Gelu HammingWindow HannWindow "
    "HardSigmoid HardSwish Mean MelWeightMatrix Mish Mod Range Selu Sin Sub Sum SwiGLU Swish".split()
)
# Attributes and the standard's constants are float32; a program may use their decimal values, such as 0.01 or 1/6.
DECIMAL = 2.0**-25
# The result of quantized arithmetic, or of the interpolation of integers, may fall on a tie.
ONE_STEP = frozenset("DynamicQuantizeLinear QLinearConv QLinearMatMul Resize Upsample".split())
# Operators whose definition computes in float32 whatever the type, unless ``stash_type`` is another one.
STASHED = frozenset(
    "BlackmanWindow GroupNormalization HammingWindow HannWindow LayerNormalization RMSNormalization".split()
)
# All other operators add products; their error grows with the number of terms.
DEVIATIONS = 8.0


def tolerances(
    operators: Sequence[str], inputs: Sequence[np.ndarray], want: Sequence[np.ndarray]
) -> list[tuple[float, float]]:
    """Returns (relative, absolute) for each output.

    Args:
        operators: the nodes' operators; of several, the result is a bound only if none of them amplifies errors.
        inputs: all inputs and constants.
        want: the expected outputs.
    """
    return [_tolerance(operators, inputs, answer) for answer in want]


def _tolerance(operators: Sequence[str], inputs: Sequence[np.ndarray], want: np.ndarray) -> tuple[float, float]:
    if want.dtype.kind in "iu":
        return (0.0, 1.0) if ONE_STEP & set(operators) else (0.0, 0.0)
    if want.dtype.kind != "f":
        return 0.0, 0.0
    info = ml_dtypes.finfo(want.dtype)
    eps, tiny = float(info.eps), float(info.tiny)
    if all(name in EXACT for name in operators):
        return 0.0, tiny if want.dtype == np.float16 else 0.0
    if len(operators) == 1 and operators[0] in RELATIVE:
        # ``Pow`` multiplies the error of the logarithm by the size of the exponent.
        return max((64 if operators[0] == "Pow" else 16) * eps, DECIMAL * (operators[0] == "LeakyRelu")), tiny
    scale = max(_magnitude(want), 1e-3 if want.dtype == np.float16 else 0.0)
    if len(operators) == 1 and operators[0] in ABSOLUTE:
        return max(16 * eps, DECIMAL), max(4 * eps, DECIMAL) * max(1.0, *(_magnitude(x) for x in inputs)) + tiny
    floats = sorted((_magnitude(x) for x in inputs if x.dtype.kind == "f" and x.size), reverse=True)
    scale += math.prod(floats[:2]) if len(floats) > 1 else sum(floats)
    terms = max((x.size for x in inputs), default=1) + 2
    roundings = DEVIATIONS * (eps / 2) * math.sqrt(2 * terms * len(operators))
    return max(16 * eps, DECIMAL), max(roundings, DECIMAL) * scale + tiny


def _magnitude(x: np.ndarray) -> float:
    """Returns the largest finite absolute value; 0 for other types than floating point."""
    if x.dtype.kind != "f":
        return 0.0
    finite = np.abs(x[np.isfinite(x)]).astype(np.float64)
    return float(finite.max()) if finite.size else 0.0
