"""Operators that compute each element from the elements at its place, with broadcasting."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.values import ANY, DTYPES, FINITE, POSITIVE, SMALL, SPECIAL, random_array

_FACTORS = (0.0, 0.01, 0.5, 1.0, 1.5, -0.3, 3.0)


def unary(d: NodeDraft) -> None:
    d.data(kind=SPECIAL if d.schema.name in ("IsInf", "IsNaN") else ANY)
    for name in ("alpha", "beta", "gamma", "bias", "lambd"):
        d.maybe(name, *_FACTORS)
    d.maybe("approximate", "none", "tanh")
    d.maybe("detect_negative", 0, 1)
    d.maybe("detect_positive", 0, 1)


def near(d: NodeDraft) -> None:
    """Functions of which float32 has no accurate value far from zero, or whose large values only overflow."""
    d.data(kind=d.choice(ANY, SMALL))


def celu(d: NodeDraft) -> None:
    d.data(kind=ANY)
    d.maybe("alpha", 0.5, 1.0, 2.0, -0.5)


def partner(d: NodeDraft, shape: Sequence[int]) -> list[int]:
    """Returns a shape that broadcasts with ``shape``: equal, with ones, shorter or longer."""
    form = d.integer(0, 4)
    sizes = list(shape)
    if form >= 2:
        sizes = [1 if d.chance(40) else size for size in sizes]
    if form >= 3:
        sizes = sizes[d.integer(0, len(sizes)) :]
    if form == 4 and len(shape) < 4:
        sizes = [d.integer(1, 3), *[1] * (len(shape) - len(sizes)), *sizes]
    return sizes


def binary(d: NodeDraft, kind: str = ANY) -> None:
    first = d.data(kind=kind)
    shape = partner(d, first.shape)
    if d.model.pool is None and d.chance(30):  # the first operand broadcasts, too
        d.inputs.clear()
        d.values.clear()
        del d.model.inputs[first.name]
        d.data(shape=partner(d, first.shape), kind=kind)
    d.operand(shape, kind)


def division(d: NodeDraft) -> None:
    """Div and Mod. An integer divisor is not zero; the answer is undefined if it is, and an error if it is constant."""
    first = d.data(kind=ANY)
    dtype, shape = d.dtype(1), partner(d, first.shape)
    if dtype.kind == "f":
        d.operand(shape)
        d.set("fmod", 1 if d.version < 28 or d.chance(60) else 0)
        return
    divisor = random_array(d.rng(), dtype, shape, FINITE)
    if dtype.kind == "i":  # the quotient of the least number and -1 overflows
        divisor = np.where(divisor == -1, np.array(3, dtype), divisor)
    if d.chance(5) and divisor.size:
        d.undefined = True
        divisor = np.where(d.rng().random(shape) < 0.3, np.array(0, dtype), divisor)
    else:
        divisor = np.where(divisor == 0, np.array(2, dtype), divisor)
    d.given(divisor.astype(dtype), dynamic=60)
    d.maybe("fmod", 0, 1)


def power(d: NodeDraft) -> None:
    # Powers of large integers overflow, which is not defined.
    first = d.data(kind=SMALL) if d.dtype(0).kind != "f" and d.model.pool is None else d.data(kind=FINITE, among="f")
    shape = partner(d, first.shape)
    if first.dtype.kind != "f" or d.chance(50):
        dtype = d.dtype(1)
        d.given(d.rng().integers(0, 4, shape).astype(dtype), dynamic=50)
    else:
        d.operand(shape, SMALL)


def shift(d: NodeDraft) -> None:
    first = d.data(kind=ANY)
    bits = first.dtype.itemsize * 8
    d.given(d.rng().integers(0, bits + 2, partner(d, first.shape)).astype(first.dtype), dynamic=60)
    d.set("direction", d.choice("LEFT", "RIGHT"))


def variadic(d: NodeDraft) -> None:
    first = d.data(kind=ANY)
    same = d.version < 8
    for _ in range(d.integer(0, 3)):
        d.operand(first.shape if same else partner(d, first.shape))


def where(d: NodeDraft) -> None:
    shape = d.shape()
    condition = d.data(shape=partner(d, shape))
    del condition
    d.data(shape=partner(d, shape))
    d.operand(partner(d, shape))


def clip(d: NodeDraft) -> None:
    first = d.data(kind=ANY)
    bounds = [np.array(value).astype(first.dtype) for value in sorted(d.integers(2, 0, 4))]
    if first.dtype.kind != "u":
        bounds = [bound - np.array(2, first.dtype) for bound in bounds]
    if d.chance(10):
        bounds.reverse()  # numpy.clip returns the upper bound
    for name, bound in zip(("min", "max"), bounds, strict=True):
        if d.version < 11:
            if d.chance(70):
                d.set(name, float(bound))
        elif d.chance(70):
            d.given(bound)
        else:
            d.absent()


def prelu(d: NodeDraft) -> None:
    first = d.data(rank=(1, 4), kind=ANY)
    sizes = [1 if d.chance(40) else size for size in first.shape]
    if d.chance(60):
        sizes = sizes[d.integer(0, len(sizes) - 1) :]
    d.operand(sizes, FINITE)


def cast(d: NodeDraft) -> None:
    """Cast between numbers that the target can represent, since others are undefined."""
    first = d.dtype(0)
    targets = sorted(DTYPES.values(), key=str)
    target = d.choice(*targets)
    _castable(d, first, target)
    d.set("to", _onnx_type(target))


def cast_like(d: NodeDraft) -> None:
    first, target = d.dtype(0), d.dtype(1)
    _castable(d, first, target)
    d.given(np.ones(d.shape((0, 2)), target))


def _castable(d: NodeDraft, first: np.dtype, target: np.dtype) -> None:
    kind = ANY
    if first.kind == "f" and target.kind in "iu":
        kind = POSITIVE if target.kind == "u" else SMALL
    d.data(kind=kind)


def bit_cast(d: NodeDraft) -> None:
    first = d.data(kind=FINITE)
    target = d.choice(*[x for x in sorted(DTYPES.values(), key=str) if x.itemsize == first.dtype.itemsize])
    d.set("to", _onnx_type(target))


def _onnx_type(dtype: np.dtype) -> int:
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(dtype))


def swiglu(d: NodeDraft) -> None:
    first = d.data(kind=ANY)
    d.operand(first.shape)
    d.maybe("alpha", 0.5, 1.0, 1.7)


def dropout(d: NodeDraft) -> None:
    """Dropout without effect; with effect, its output is random."""
    d.data(kind=ANY)
    if d.version >= 12:
        if d.chance(50):
            d.given(np.array(d.choice(0.0, 0.5), d.dtype(1)))
            if d.chance(50):
                d.given(np.array(False))
    else:
        d.maybe("ratio", 0.0, 0.5)
    d.maybe("seed", 3)
    d.num_outputs = d.choice(1, 2)


_UNARY = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity IsInf "
    "IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Softplus Softsign Sqrt Swish Tanh "
    "ThresholdedRelu"
)
_BINARY = "Add And BitwiseAnd BitwiseOr BitwiseXor Equal Greater GreaterOrEqual Less LessOrEqual Mul Or Sub Xor"

STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    **dict.fromkeys(_UNARY.split(), unary),
    **dict.fromkeys("Cos Cosh Sin Sinh Tan".split(), near),
    **dict.fromkeys(_BINARY.split(), binary),
    **dict.fromkeys("Max Mean Min Sum".split(), variadic),
    "BitCast": bit_cast,
    "BitShift": shift,
    "Cast": cast,
    "CastLike": cast_like,
    "Celu": celu,
    "Clip": clip,
    "Div": division,
    "Dropout": dropout,
    "Mod": division,
    "PRelu": prelu,
    "Pow": power,
    "SwiGLU": swiglu,
    "Where": where,
}
