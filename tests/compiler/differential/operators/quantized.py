"""Quantized operators."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.compiler.differential.draft import NodeDraft
from tests.compiler.differential.operators.windows import Window, images
from tests.compiler.differential.values import ANY, FINITE, SMALL


def _scale(d: NodeDraft, shape: list[int], dtype: np.dtype) -> np.ndarray:
    # Powers of two, so that no rounding of a quotient decides where a tie goes.
    # An integer scale must not be 0.
    return (2.0 ** d.rng().integers(0 if dtype.kind in "iu" else -4, 1, shape)).astype(dtype)


def _zero(d: NodeDraft, shape: list[int], dtype: np.dtype) -> np.ndarray:
    low, high = (-3, 4) if dtype.kind == "i" else (0, 7)
    return d.rng().integers(low, high, shape).astype(dtype)


def quantize(d: NodeDraft) -> None:
    """QuantizeLinear and DequantizeLinear: per tensor, per axis, and in blocks."""
    # ONNX Runtime's quotients overflow for large int32.
    x = d.data(rank=(0, 4), kind=SMALL if d.dtype(0) == np.int32 else FINITE, least=1)
    to = d.schema.name == "QuantizeLinear"
    form = d.choice("tensor", "tensor", "axis", "block") if x.rank else "tensor"
    axis = d.integer(0, x.rank - 1) if x.rank else 0
    shape: list[int] = []
    if form == "block" and d.version >= 21:
        block = d.choice(*[k for k in range(1, x.shape[axis] + 1) if x.shape[axis] % k == 0])
        shape = list(x.shape)
        shape[axis] //= block
        d.set("block_size", block)
    elif form != "tensor" and d.version >= 13:
        shape = [x.shape[axis]]
    elif d.version >= 13 and d.chance(20):
        shape = [1] if not x.rank else []
    scale_type = d.dtype(1)
    d.given(_scale(d, shape, scale_type))
    zero = d.dtype(2) if to else x.dtype
    if d.chance(70) and zero != np.int32:
        d.given(_zero(d, shape, zero))
    elif to and d.version >= 21 and d.chance(50):
        d.set("output_dtype", d.choice(2, 3, 4, 5))
    if shape or d.chance(20):
        d.set("axis", axis - x.rank if d.chance(40) and x.rank else axis) if x.rank else None
    if to:
        d.maybe("saturate", 1, percent=20)


def dynamic_quantize(d: NodeDraft) -> None:
    d.data(kind=SMALL)
    d.num_outputs = 3


def matmul_integer(d: NodeDraft) -> None:
    x = d.data(rank=(1, 4), kind=ANY)
    columns = d.integer(1, 5)
    batch = [1 if d.chance(30) else size for size in x.shape[:-2]]
    matrix = d.choice([x.shape[-1], columns], [*batch, x.shape[-1], columns], [x.shape[-1]])
    d.operand(matrix, ANY)
    count = d.integer(0, 2)
    if count:
        rows = x.shape[-2] if x.rank >= 2 else 1
        d.given(_zero(d, [rows] if x.rank == 2 and d.chance(30) else [], d.dtype(2)))
    if count == 2:
        d.given(_zero(d, [columns] if len(matrix) > 1 and d.chance(40) else [], d.dtype(3)))


def qlinear_matmul(d: NodeDraft) -> None:
    x = d.data(rank=(2, 4), kind=ANY, least=1)
    columns = d.integer(1, 5)
    scale_type = d.dtype(1)
    per_column = d.chance(30)
    d.given(_scale(d, [], scale_type))
    d.given(_zero(d, [], d.dtype(2)))
    d.operand([*([] if d.chance(50) else x.shape[:-2]), x.shape[-1], columns], ANY)
    shape = [columns] if per_column else []
    d.given(_scale(d, shape, scale_type))
    d.given(_zero(d, shape, d.dtype(5)))
    d.given(_scale(d, [], scale_type) * np.array(16, scale_type))
    d.given(_zero(d, [], d.dtype(7)))


def qlinear_conv(d: NodeDraft) -> None:
    shape = images(d, kind=ANY)
    channels = shape[1]
    groups = d.choice(*[g for g in range(1, channels + 1) if channels % g == 0]) if d.chance(30) else 1
    outputs = groups * d.choice(1, 2, 3)
    window = Window(d, shape[2:], kernel=False)
    per_channel = [outputs] if d.chance(50) else []
    scale_type = np.dtype("float32")
    d.given(_scale(d, [], scale_type))
    d.given(_zero(d, [], d.dtype(2)))
    d.operand([outputs, channels // groups, *window.kernel], ANY)
    d.given(_scale(d, per_channel, scale_type))
    zero = _zero(d, per_channel, d.dtype(5))
    d.given(zero if d.chance(50) else np.full_like(zero, zero.flat[0] if zero.size else 0))
    d.given(_scale(d, [], scale_type) * np.float32(16))
    d.given(_zero(d, [], d.dtype(7)))
    if d.chance(50):
        d.given(d.rng().integers(-50, 50, [outputs]).astype(np.int32))
    if groups != 1 or d.chance(20):
        d.set("group", groups)


STRATEGIES: dict[str, Callable[[NodeDraft], None]] = {
    "DequantizeLinear": quantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "QuantizeLinear": quantize,
}
