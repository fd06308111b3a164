"""Weights that are quantized in blocks along their rows."""

from __future__ import annotations

from graph_passes.definitions.call import Call, cast, reshaped
from graph_passes.lazy import ir


def matmul_nbits(call: Call) -> str:
    """A (..., K) times the transpose of weights (N, K) of 4 or 8 bits, in blocks with a scale and a zero point each.

    Two weights of 4 bits share a byte, the first one in its low half. Without zero points, zero is half of the range.
    """
    bits, size = call.integer("bits", 4), call.integer("block_size")
    rows, columns = call.integer("N"), call.integer("K")
    blocks = -(-columns // size)
    call.require(bits in (2, 4, 8), f"weights of {bits} bits are not supported; 2, 4 and 8 bits are")
    call.require(not call.has(4), "an order of groups (g_idx) is not supported")
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
    {"y = Add (product, bias)" if call.has(5) else "y = Identity (product)"}"""


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
