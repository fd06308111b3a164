"""Convolutions that run as one kernel, slab by slab, so that what lies between them never leaves L2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.spaces.conv2d import is_pointwise
from compiler.spaces.depthwise import is_depthwise
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import DTYPE_BYTES, Workload
from graph_passes.values import producer, sole_user

# Of L2: what is smaller stays there anyway, and all weights of a chain are read again for each slab.
_SHARE_OF_OUTPUT = 1 / 2
_SHARE_OF_WEIGHTS = 1 / 4


def find_chains(calls: Mapping[ir.Node, Call], target: Target) -> list[tuple[ir.Node, ...]]:
    """Neighbours that gain by running together: a depthwise convolution, the one before it and a 1x1 one after it.

    A depthwise convolution has so few operations a byte that from L3 or memory it takes several times as long as from
    L2, and the one before it, which mostly widens the image, is slowed down by writing as much. Convolutions that may
    run by Winograd's algorithm keep to themselves: it takes whole images.
    """
    l2 = target.cache_bytes[1]
    chains = []
    for node, call in calls.items():
        if not _is_stage(call) or not _is_depthwise(call):
            continue
        chain = (node,)
        before, after = producer(node.inputs[0]), sole_user(node.outputs[0])
        if before is not None and _join(before, node, calls, l2) and not _by_winograd(calls[before]):
            chain = (before, *chain)
        if after is not None and _join(node, after, calls, l2) and _is_pointwise(calls[after]):
            chain = (*chain, after)
        taken = any(other in earlier for earlier in chains for other in chain)
        if len(chain) > 1 and not taken and _weight_bytes([calls[n] for n in chain]) <= _SHARE_OF_WEIGHTS * l2:
            chains.append(chain)
    return chains


def chained(calls: Sequence[Call]) -> Call:
    """The kernel that computes what these do one after the other, each on the answer of the one before."""
    first, last = calls[0], calls[-1]
    return replace(
        last,
        op="conv2d_chain",
        inputs=(*first.inputs[:1], *last.inputs[1:]),
        attributes={"stages": [dict(call.attributes) for call in calls]},
        weights={f"{name}{place}": weight for place, call in enumerate(calls) for name, weight in call.weights.items()},
        workload=None,
        stages=tuple(call.workload for call in calls if call.workload is not None),
    )


def _is_stage(call: Call) -> bool:
    """Whether something may follow it in a chain."""
    return call.op == "conv2d" and len(call.inputs) == 1 and call.activation is None and call.output_perm is None


def _join(node: ir.Node, after: ir.Node, calls: Mapping[ir.Node, Call], l2: int) -> bool:
    """Whether these are convolutions, and what lies between them is theirs alone and too large for L2."""
    call, following = calls.get(node), calls.get(after)
    if call is None or following is None or following.op != "conv2d" or not _is_stage(call):
        return False
    between = node.outputs[0]
    alone = sole_user(between) is after and following.inputs[0] is between
    return alone and _output_bytes(call.workload) > _SHARE_OF_OUTPUT * l2


def _is_depthwise(call: Call) -> bool:
    return call.workload is not None and is_depthwise(call.workload) and call.workload.sizes["c"] > 1


def _is_pointwise(call: Call) -> bool:
    return call.workload is not None and is_pointwise(call.workload)


def _by_winograd(call: Call) -> bool:
    return call.workload is not None and any(algorithm.applies(call.workload) for algorithm in ALGORITHMS.values())


def _output_bytes(workload: Workload | None) -> int:
    """Of one image."""
    return 0 if workload is None else prod(workload.output_shape[1:]) * DTYPE_BYTES[workload.dtype]


def _weight_bytes(calls: Sequence[Call]) -> int:
    return sum(weight.nbytes for call in calls for weight in call.weights.values())
