"""Weights that are quantized in blocks along their rows."""

from __future__ import annotations

from math import prod

import numpy as np

from graph_passes.definitions.call import Call, cast, reshaped, sliced
from graph_passes.few_bits import unpacked
from graph_passes.lazy import ir
from graph_passes.values import constant


def matmul_nbits(call: Call) -> str:
    """A (..., K) times the transpose of weights (N, K) of 4 or 8 bits, in blocks with a scale and a zero point each.

    Two weights of 4 bits share a byte, the first one in its low half. Without zero points, zero is half of the range.
    """
    bits, size = call.integer("bits", 4), call.integer("block_size")
    rows, columns = call.integer("N"), call.integer("K")
    blocks = -(-columns // size)
    call.require(bits in (2, 4, 8), f"weights of {bits} bits are not supported; 2, 4 and 8 bits are")
    call.require(not call.has(4), "an order of groups (g_idx) is not supported")
    bias = "y = Add (product, bias)" if call.has(5) else "y = Identity (product)"
    if _is_constant(call, 1, 2, 3):
        call.held["weight"] = _weight(call, rows, columns, bits, size)
        return f"(a, b, scales, zeros, order, bias) => (y)\nproduct = MatMul (a, weight)\n{bias}"
    kind = call.dtype()
    if call.has(3) and call.dtype(3) in (ir.DataType.UINT8,):
        packed = -(-blocks * bits // 8)
        zero = f"""{reshaped("zeros", [rows, packed], "zero_bytes")}
        {_unpacked("zero_bytes", bits, [rows, packed], "zero_numbers", kind)}
        zero_start = [0]
        zero_end = [{blocks}]
        zero_axis = [1]
        zero_rows = Slice (zero_numbers, zero_start, zero_end, zero_axis)
        {reshaped("zero_rows", [rows, blocks, 1], "zero")}"""
    elif call.has(3):
        zero = f"{cast('zeros', kind, 'zero_numbers')}\n{reshaped('zero_numbers', [rows, blocks, 1], 'zero')}"
    else:
        zero = f"zero = {float(2 ** (bits - 1))!r}"
    return f"""(a, b, scales, zeros, order, bias) => (y)
    {reshaped("b", [rows, blocks * size * bits // 8], "bytes")}
    {_unpacked("bytes", bits, [rows, blocks * size * bits // 8], "numbers", kind)}
    {reshaped("numbers", [rows, blocks, size], "in_blocks")}
    {zero}
    centered = Sub (in_blocks, zero)
    {reshaped("scales", [rows, blocks, 1], "factors")}
    scaled = Mul (centered, factors)
    {reshaped("scaled", [rows, blocks * size], "padded")}
    first = [0]
    last = [{columns}]
    axis = [1]
    weight = Slice (padded, first, last, axis)
    transposed = Transpose <perm = [1, 0]> (weight)
    product = MatMul (a, transposed)
    {bias}"""


def gather_block_quantized(call: Call) -> str:
    """Rows of a table (rows, bytes) of 4 or 8 bits, in blocks with a scale and a zero point each."""
    bits, size = call.integer("bits", 4), call.integer("block_size", 128)
    shape, indices = call.shape(0), call.shape(1)
    call.require(call.dtype(0) == ir.DataType.UINT8, f"a table of {call.dtype(0).name.lower()} is not supported")
    call.require(bits in (4, 8), f"a table of {bits} bits is not supported; 4 and 8 bits are")
    is_of_rows = len(shape) == 2 and call.integer("gather_axis", 0) == 0 and call.integer("quantize_axis", 1) in (1, -1)
    call.require(is_of_rows, "only rows of a matrix that is quantized along them are supported")
    count, columns = prod(indices), shape[1] * 8 // bits
    blocks, kind = -(-columns // size), call.dtype(2)
    lines = [
        reshaped("indices", [count], "places"),
        "bytes = Gather (table, places)",
        "factors = Gather (scales, places)",
    ]
    lines.append(_unpacked("bytes", bits, [count, shape[1]], "numbers", kind))
    lines += [_per_element("factors", [count, blocks], size, columns, "factor")]
    if call.has(3):
        packed = call.shape(3)[1]
        lines += [
            "zero_bytes = Gather (zeros, places)",
            _unpacked("zero_bytes", bits, [count, packed], "zero_all", kind),
        ]
        lines.append(sliced("zero_all", 0, blocks, 1, "zero_rows"))
        lines.append(_per_element("zero_rows", [count, blocks], size, columns, "zero"))
    else:
        lines.append(
            f"middle = Constant <value = float {{{float(2 ** (bits - 1))}}}> ()\n{cast('middle', kind, 'zero')}"
        )
    lines += [
        "centered = Sub (numbers, zero)",
        "flat = Mul (centered, factor)",
        reshaped("flat", [*indices, columns], "y"),
    ]
    return "(table, indices, scales, zeros) => (y)\n" + "\n".join(lines)


def _per_element(x: str, shape: list[int], size: int, columns: int, y: str) -> str:
    """Returns the statements from one number per block to one per element of the rows."""
    rows, blocks = shape
    return f"""{reshaped(x, [rows, blocks, 1], f"{y}_column")}
    {y}_wide_shape = [{rows}, {blocks}, {size}]
    {y}_wide = Expand ({y}_column, {y}_wide_shape)
    {reshaped(f"{y}_wide", [rows, blocks * size], f"{y}_row")}
    {sliced(f"{y}_row", 0, columns, 1, y)}"""


def _is_constant(call: Call, *places: int) -> bool:
    """Returns whether those of these inputs that are given are constant."""
    return all(constant(call.node.inputs[place]) is not None for place in places if call.has(place))


def _weight(call: Call, rows: int, columns: int, bits: int, size: int) -> np.ndarray:
    """Returns the weights (K, N) of constants, in the type of the data."""
    blocks, dtype = -(-columns // size), call.dtype().numpy()
    numbers = unpacked(call.constant(1).reshape(rows, -1), bits).reshape(rows, blocks, size)
    zero: np.ndarray = np.full((), 2 ** (bits - 1))
    if call.has(3) and call.dtype(3) == ir.DataType.UINT8:
        zero = unpacked(call.constant(3).reshape(rows, -1), bits)[:, :blocks, None]
    elif call.has(3):
        zero = call.constant(3).reshape(rows, blocks, 1)
    scales = call.constant(2).reshape(rows, blocks, 1).astype(dtype)
    weight = (numbers.astype(dtype) - zero.astype(dtype)) * scales
    return np.ascontiguousarray(weight.reshape(rows, blocks * size)[:, :columns].T)


def _unpacked(x: str, bits: int, shape: list[int], y: str, dtype: ir.DataType) -> str:
    """Returns the statements from bytes (rows, columns) to their parts in order, from the low bits on, as numbers."""
    if bits == 8:
        return cast(x, dtype, y)
    parts = 8 // bits
    lines = [cast(x, ir.DataType.INT32, f"{y}_bytes")]
    for part in range(parts):
        divisor = f"{y}_divisor_{part} = Constant <value = int32 {{{2 ** (bits * part)}}}> ()"
        modulus = f"{y}_modulus_{part} = Constant <value = int32 {{{2**bits}}}> ()"
        lines += [divisor, modulus, f"{y}_high_{part} = Div ({y}_bytes, {y}_divisor_{part})"]
        lines.append(f"{y}_part_{part} = Mod ({y}_high_{part}, {y}_modulus_{part})")
        lines.append(reshaped(f"{y}_part_{part}", [*shape, 1], f"{y}_column_{part}"))
    joined = ", ".join(f"{y}_column_{part}" for part in range(parts))
    lines.append(f"{y}_pairs = Concat <axis = 2> ({joined})")
    lines.append(reshaped(f"{y}_pairs", [shape[0], shape[1] * parts], f"{y}_row"))
    return "\n".join([*lines, cast(f"{y}_row", dtype, y)])
