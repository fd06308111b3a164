"""Converters of ONNX operators: each emits what computes one node.

TVM's front end for ONNX is not used: it computes many forms of operators incorrectly. Each operator is written once
here, from its definition in ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.tvm_backend.operators import (
    binary,
    cast,
    convolution,
    einsum,
    grid_sample,
    indexing,
    linear,
    movement,
    normalization,
    pooling,
    quantization,
    recurrent,
    reductions,
    regions,
    resize,
    sequences,
    unary,
)
from compiler.tvm_backend.operators.node import Converter

_MODULES = (
    *(binary, cast, convolution, einsum, grid_sample, indexing, linear, movement, normalization, pooling),
    *(quantization, recurrent, reductions, regions, resize, sequences, unary),
)

# By the name of the operator, which is in ONNX's standard domain.
CONVERTERS: Mapping[str, Converter] = {
    name: converter for module in _MODULES for name, converter in module.CONVERTERS.items()
}
