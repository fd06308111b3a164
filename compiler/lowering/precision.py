"""Layers of bfloat16: which layers compute in bfloat16, and which tensors between layers are bfloat16.

Weights are rounded once, and x in each run unless it is bfloat16. Sums are in float32; the output is rounded if all of
its readers take bfloat16. The workload of such a layer is that of bfloat16 tensors. Layers before a rounding to
integers and those of chains stay float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.lowering.recognize import Match
from compiler.spaces.default_conv2d import default_convolution_cycles
from compiler.workloads.precision import BFLOAT16
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import Workload

# Without instructions for bfloat16, its products take as long as those of float32. A layer gains half of the bytes of
# its weights, if it has so few rows that it waits for them.
MOST_ROWS = 4


# The operands that layers of bfloat16 read in it, in the order of their inputs.
_OPERANDS = {"conv2d": ("x", "residual"), "dense": ("x", "residual")}


@dataclass
class InBfloat16:
    """Calls of float32 as calls of bfloat16. Weights that are one array stay one array."""

    target: Target
    fast_algorithms: bool
    weights: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # by id: the array, and its bits

    def __call__(self, call: Call) -> Call:
        """Returns a call in bfloat16, or the same one if it would not be faster."""
        workload = call.workload
        if workload is None or workload.dtype != "float32" or not self._gains(call, workload):
            return call
        weight = call.weights["weight"]
        if id(weight) not in self.weights:
            self.weights[id(weight)] = weight, bits(weight)
        return replace(
            call,
            attributes={**call.attributes, "dtype": BFLOAT16},
            weights={**call.weights, "weight": self.weights[id(weight)][1]},
            workload=replace(workload, dtype=BFLOAT16),
        )

    def _gains(self, call: Call, workload: Workload) -> bool:
        if call.op not in ("dense", "conv2d") or call.exact:
            return False
        sizes, few_rows = workload.sizes, prod(workload.output_shape[:-1]) <= MOST_ROWS
        if call.op == "conv2d" and sizes["groups"] == sizes["c"] > 1:  # depthwise: it has few products
            return False
        if not self.target.multiplies_bfloat16:
            return few_rows
        if call.op == "dense":
            return True
        if not any(algorithm.applies(workload) for algorithm in ALGORITHMS.values()):
            return True
        # Winograd's algorithms need fewer products, which are of float32.
        rounded = replace(workload, dtype=BFLOAT16)
        in_bfloat16, in_float32 = (
            default_convolution_cycles(either, self.target, self.fast_algorithms) for either in (rounded, workload)
        )
        return in_bfloat16 < in_float32


def between_layers(matches: Sequence[Match], calls: Sequence[Call]) -> list[Call]:
    """Returns the calls of matches with the tensors in bfloat16 that only layers of bfloat16 write and read."""
    call_of = {node: call for match, call in zip(matches, calls, strict=True) for node in match.nodes}

    def is_between(value: ir.Value | None) -> bool:
        writer = None if value is None else call_of.get(value.producer())
        if writer is None or not _is_bfloat16(writer) or value.is_graph_output():
            return False
        if writer.activation is not None or writer.output_perm is not None:  # generated code reads it
            return False
        readers = [call_of.get(use.node) for use in value.uses()]
        return all(reader is not None and _is_bfloat16(reader) and value in reader.inputs for reader in readers)

    def with_tensors(match: Match, call: Call) -> Call:
        if not _is_bfloat16(call):
            return call
        tensors = dict(zip(_OPERANDS[call.op], call.inputs, strict=False)) | {"out": match.outputs[0]}
        dtypes = {f"{name}_dtype": BFLOAT16 for name, value in tensors.items() if is_between(value)}
        return replace(call, attributes={**call.attributes, **dtypes})

    return [with_tensors(match, call) for match, call in zip(matches, calls, strict=True)]


def _is_bfloat16(call: Call) -> bool:
    return call.op in _OPERANDS and call.attributes.get("dtype") == BFLOAT16


def bits(array: np.ndarray) -> np.ndarray:
    """Returns the nearest bfloat16 of each float32, ties to even, as their bits in uint16."""
    whole = np.ascontiguousarray(array, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = whole + np.uint32(0x7FFF) + (whole >> 16 & 1)
    quiet = whole | 0x00400000  # rounding would make some NaN infinite
    return (np.where(np.isnan(array), quiet, rounded) >> 16).astype(np.uint16)
