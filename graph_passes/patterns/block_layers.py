"""Products with a constant weight of few bits, as quantizers of weights alone write them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from graph_passes.few_bits import unpacked
from graph_passes.lazy import ir
from graph_passes.patterns.layers import FusedLayer, call
from graph_passes.values import (
    constant,
    data_input,
    graph_of,
    is_op,
    new_constant,
    producer,
    required,
    static_shape,
    supplant,
)

_BITS = (2, 4, 8)
# Of x, up to which a dequantized weight of 8 bits with scales of columns becomes a layer. More rows are as fast in
# float32, or faster.
_MOST_ROWS_OF_BYTES = 4
_WORD_BITS = 32  # a block is whole words, unless a row is one block
_MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class BlockLayer:
    """A product x · Wᵀ, where W is (numbers - zeros) * scales.

    Attributes:
        weight: the value that the numbers come from, for the names of the constants.
        numbers: (columns, blocks, numbers) of uint8, zeros behind the end of a row.
        scales, zeros: (columns, blocks, 1) of float32 and of uint8.
        rows: the length of a column of the product.
        bits: of a number.
    """

    node: ir.Node
    weight: ir.Value
    numbers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    rows: int
    bits: int

    @classmethod
    def of(cls, node: ir.Node, by_rows: bool = True) -> BlockLayer | None:
        """Returns the layer of a node; None if it is another node, or in a form that layers do not have.

        Args:
            by_rows: whether the number of rows of x may decide; otherwise no layer is made where it would.
        """
        x = data_input(node, 0)
        if x is None or x.dtype != ir.DataType.FLOAT or x.shape is None or len(x.shape) < 2:
            return None
        if node.domain == _MICROSOFT and node.op_type == "MatMulNBits":
            return _of_matmul_nbits(node)
        return _of_dequantized(node, by_rows) if is_op(node, "MatMul", "Gemm") else None

    def write(self, model: ir.Model) -> None:
        """Replaces the node."""
        node, graph, name = self.node, graph_of(self.node), self.weight.name
        bias = data_input(node, 5) if node.domain == _MICROSOFT else data_input(node, 2)
        operands = {
            "x": node.inputs[0],
            "w": new_constant(graph, f"{name}_numbers", self.numbers),
            "w_scale": new_constant(graph, f"{name}_scales", self.scales),
            "w_zero": new_constant(graph, f"{name}_zeros", self.zeros),
            "b": bias,
        }
        layer = FusedLayer("BlockMatMul", bias=bias is not None)
        attributes = [ir.AttrInt64("bits", self.bits), ir.AttrInt64s("rows", [self.rows])]
        new = call(model, layer, [operands[operand] for operand in layer.inputs], attributes)
        new.name = node.name
        supplant([node], [new])


def _of_matmul_nbits(node: ir.Node) -> BlockLayer | None:
    get = node.attributes
    bits, size = get.get_int("bits", 4), get.get_int("block_size", 0)
    columns, rows = get.get_int("N", 0), get.get_int("K", 0)
    packed, scales, zeros = (constant(data_input(node, place)) for place in (1, 2, 3))
    given = [data_input(node, place) is not None for place in (3, 4)]
    if bits not in _BITS or size < 1 or columns < 1 or rows < 1 or packed is None or scales is None or given[1]:
        return None
    blocks = -(-rows // size)
    if given[0] and (zeros is None or zeros.dtype != np.uint8):
        return None
    bytes_of_row, zero_bytes = blocks * size * bits // 8, -(-blocks * bits // 8)
    if packed.dtype != np.uint8 or packed.size != columns * bytes_of_row or scales.size != columns * blocks:
        return None
    if zeros is not None and zeros.size != columns * zero_bytes:
        return None
    if scales.dtype != np.float32 or not _is_block(size, bits, blocks) or not _is_row(data_input(node, 5), columns):
        return None
    numbers = unpacked(packed.reshape(columns, bytes_of_row), bits).reshape(columns, blocks, size)
    behind = np.arange(blocks * size).reshape(blocks, size) >= rows
    if behind.any():
        numbers = np.where(behind, np.uint8(0), numbers)
    whole = np.full((columns, blocks), 2 ** (bits - 1), np.uint8)
    if zeros is not None:
        whole = unpacked(zeros.reshape(columns, zero_bytes), bits)[:, :blocks]
    shape = (columns, blocks, 1)
    return BlockLayer(node, required(node.inputs[1]), numbers, scales.reshape(shape), whole.reshape(shape), rows, bits)


def _of_dequantized(node: ir.Node, by_rows: bool) -> BlockLayer | None:
    """Returns the layer of a MatMul or Gemm whose weight alone is dequantized, maybe before a transposition."""
    source = producer(node.inputs[1])
    transposed = False
    if is_op(source, "Transpose") and source is not None and list(source.attributes.get_ints("perm", (1, 0))) == [1, 0]:
        source, transposed = producer(source.inputs[0]), True
    if source is None or not is_op(source, "DequantizeLinear") or is_op(producer(node.inputs[0]), "DequantizeLinear"):
        return None
    if is_op(node, "Gemm"):
        get = node.attributes
        if get.get_float("alpha", 1.0) != 1 or get.get_float("beta", 1.0) != 1 or get.get_int("transA", 0):
            return None
        transposed ^= bool(get.get_int("transB", 0))
    found = _dequantized(source, transposed)
    if found is None:
        return None
    numbers, scales, zeros, bits, size = found
    has_blocks = bool(source.attributes.get_int("block_size", 0))  # others become float32 layers
    if bits == 8 and not has_blocks and not (by_rows and _has_few_rows(required(node.inputs[0]))):
        return None
    columns, rows = numbers.shape
    if is_op(node, "Gemm") and not _is_row(data_input(node, 2), columns):
        return None
    blocks = scales.shape[1]
    padded = np.zeros((columns, blocks * size), np.uint8)
    padded[:, :rows] = numbers
    return BlockLayer(
        node,
        required(source.inputs[0]),
        padded.reshape(columns, blocks, size),
        np.ascontiguousarray(scales)[..., None],
        np.ascontiguousarray(zeros)[..., None],
        rows,
        bits,
    )


def _dequantized(node: ir.Node, transposed: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, int] | None:
    """Returns the numbers (columns, rows) of a DequantizeLinear, scales and zeros (columns, blocks), bits and block.

    None if it is not a constant matrix of unsigned numbers with one scale per column or block of a column.
    """
    x, scales, zeros = constant(node.inputs[0]), constant(node.inputs[1]), constant(data_input(node, 2))
    bits = {"int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "int2": 2, "uint2": 2}.get("" if x is None else x.dtype.name)
    if x is None or bits is None or x.ndim != 2 or x.size == 0:
        return None
    if scales is None or scales.dtype != np.float32 or (zeros is None) != (data_input(node, 2) is None):
        return None
    if zeros is not None and zeros.shape != scales.shape:
        return None
    offset = 0 if x.dtype.name.startswith("u") else 2 ** (bits - 1)  # signed numbers become unsigned ones
    numbers = (x.astype(np.int16) + offset).astype(np.uint8)
    centers = np.zeros(scales.shape, np.int16) if zeros is None else zeros.astype(np.int16)
    whole = (centers + offset).astype(np.uint8)
    along, size = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    if size < 0 or not -x.ndim <= along < x.ndim:
        return None
    along %= x.ndim
    if not transposed:
        numbers, along = numbers.T, 1 - along
    # Now (columns, rows), and `along` is the axis of the scales.
    columns, rows = numbers.shape
    size = min(size, rows)
    if size == 0 and scales.size == 1:
        one, zero = (np.broadcast_to(a.reshape(1, 1), (columns, 1)) for a in (scales, whole))
        return numbers, one, zero, bits, rows
    if size == 0:
        if along != 0 or scales.shape != (columns,):
            return None
        return numbers, scales.reshape(columns, 1), whole.reshape(columns, 1), bits, rows
    if scales.ndim != 2 or along != 1:
        return None
    if not transposed:
        scales, whole = scales.T, whole.T
    blocks = -(-rows // size)
    if scales.shape != (columns, blocks) or not _is_block(size, bits, blocks):
        return None
    return numbers, scales, whole, bits, size


def _has_few_rows(x: ir.Value) -> bool:
    shape = static_shape(x)
    return shape is not None and prod(shape[:-1]) <= _MOST_ROWS_OF_BYTES


def _is_block(size: int, bits: int, blocks: int) -> bool:
    return blocks == 1 or size * bits % _WORD_BITS == 0


def _is_row(bias: ir.Value | None, columns: int) -> bool:
    """Whether an operand is absent, or has a number per column."""
    return bias is None or static_shape(bias) == (columns,)
