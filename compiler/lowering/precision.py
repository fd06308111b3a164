"""Layers of bfloat16: which layers compute in bfloat16, and which tensors between layers are bfloat16.

Weights are rounded once, and x in each run unless it is bfloat16. Sums are in float32; the output is rounded if all of
its readers take bfloat16. The workload of such a layer is that of bfloat16 tensors. Depthwise convolutions compute in
float32 and may read and write bfloat16, as they do in chains. Layers before a rounding to integers stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import prod
from typing import Any, TypeGuard

import numpy as np
import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.lowering.recognize import Match
from compiler.spaces.default_conv2d import default_convolution_cycles
from compiler.workloads.operators.conv2d import is_depthwise
from compiler.workloads.precision import BFLOAT16
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import Workload

# Without instructions for bfloat16, its products take as long as those of float32. A layer gains half of the bytes of
# its weights, if it has so few rows that it waits for them.
MOST_ROWS = 4


# The operands that layers read in bfloat16, in the order of their inputs.
_OPERANDS = {"conv2d": ("x", "residual"), "conv2d_chain": ("x", "residual"), "dense": ("x", "residual")}


@dataclass
class InBfloat16:
    """Calls of float32 as calls of bfloat16. Weights that are one array stay one array."""

    target: Target
    fast_algorithms: bool
    weights: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)  # by id: the array, and its bits

    def __call__(self, call: Call) -> Call:
        """Returns a call in bfloat16, or the same one if it would not be faster."""
        if call.op == "conv2d_chain":
            return self._chain(call)
        if call.op == "attention":
            return self._attention(call)
        workload = call.workload
        if workload is None or workload.dtype != "float32" or not self._gains(call, workload):
            return call
        return replace(
            call,
            attributes={**call.attributes, "dtype": BFLOAT16},
            weights={**call.weights, "weight": self._rounded(call.weights["weight"])},
            workload=replace(workload, dtype=BFLOAT16),
        )

    def _rounded(self, weight: np.ndarray) -> np.ndarray:
        if id(weight) not in self.weights:
            self.weights[id(weight)] = weight, bits(weight)
        return self.weights[id(weight)][1]

    def _attention(self, call: Call) -> Call:
        """Returns an attention with products of bfloat16, of tensors of float32. It has no workload to tune."""
        if call.exact or call.workload is None or not self.target.multiplies_bfloat16:
            return call
        stage = replace(call.workload, dtype=BFLOAT16)
        return replace(call, attributes={**call.attributes, "dtype": BFLOAT16}, workload=None, stages=(stage,))

    def _chain(self, call: Call) -> Call:
        """Returns a chain with all stages but the depthwise ones in bfloat16, and all images between them."""
        if call.exact or not self.target.multiplies_bfloat16:
            return call
        places = [place for place, workload in enumerate(call.stages) if not is_depthwise(workload)]
        stages = [dict(stage) for stage in call.attributes["stages"]]
        for place in places:
            stages[place]["dtype"] = BFLOAT16
        for before, after in pairwise(stages):
            before["out_dtype"] = after["x_dtype"] = BFLOAT16
        rounded = {f"weight{place}": self._rounded(call.weights[f"weight{place}"]) for place in places}
        return replace(
            call,
            attributes={"stages": stages},
            weights={**call.weights, **rounded},
            stages=tuple(
                replace(workload, dtype=BFLOAT16) if place in places else workload
                for place, workload in enumerate(call.stages)
            ),
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


def between_layers(matches: Sequence[Match], calls: Sequence[Call], target: Target) -> list[Call]:
    """Returns the calls of matches with the tensors in bfloat16 that only layers of bfloat16 write and read."""
    call_of = {node: call for match, call in zip(matches, calls, strict=True) for node in match.nodes}

    def narrows(call: Call | None) -> TypeGuard[Call]:
        return call is not None and _takes_bfloat16(call, target)

    def is_between(value: ir.Value | None) -> bool:
        producer = None if value is None else value.producer()
        if value is None or producer is None or value.is_graph_output():
            return False
        writer = call_of.get(producer)
        if not narrows(writer) or writer.activation is not None or writer.output_perm is not None:
            return False  # generated code reads it
        readers = [call_of.get(use.node) for use in value.uses()]
        return all(narrows(reader) and value in reader.inputs for reader in readers)

    def with_tensors(match: Match, call: Call) -> Call:
        if not narrows(call):
            return call
        tensors = dict(zip(_OPERANDS[call.op], call.inputs, strict=False)) | {"out": match.outputs[0]}
        dtypes = {f"{name}_dtype": BFLOAT16 for name, value in tensors.items() if is_between(value)}
        return replace(call, attributes=_with_dtypes(call.attributes, dtypes))

    return [with_tensors(match, call) for match, call in zip(matches, calls, strict=True)]


def _takes_bfloat16(call: Call, target: Target) -> bool:
    """Whether the tensors of a call may be bfloat16."""
    if call.op not in _OPERANDS or call.exact:
        return False
    if call.op == "conv2d_chain":
        return any(stage.get("dtype") == BFLOAT16 for stage in call.attributes["stages"])
    if call.attributes.get("dtype") == BFLOAT16:
        return True
    if call.op != "conv2d" or call.workload is None or call.workload.dtype != "float32":
        return False
    return target.multiplies_bfloat16 and is_depthwise(call.workload)


def _with_dtypes(attributes: Mapping[str, Any], dtypes: Mapping[str, str]) -> dict[str, Any]:
    """Adds types of tensors to the attributes of a layer. The first stage of a chain reads x, the last the others."""
    if "stages" not in attributes:
        return {**attributes, **dtypes}
    stages = [dict(stage) for stage in attributes["stages"]]
    for name, dtype in dtypes.items():
        stages[0 if name == "x_dtype" else -1][name] = dtype
    return {**attributes, "stages": stages}


def bits(array: np.ndarray) -> np.ndarray:
    """Returns the nearest bfloat16 of each float32, ties to even, as their bits in uint16."""
    whole = np.ascontiguousarray(array, np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = whole + np.uint32(0x7FFF) + (whole >> 16 & 1)
    quiet = whole | 0x00400000  # rounding would make some NaN infinite
    return (np.where(np.isnan(array), quiet, rounded) >> 16).astype(np.uint16)
