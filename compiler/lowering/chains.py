"""Chains: convolutions that run as one kernel, slab by slab, so that intermediate images stay in L2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

import onnx_ir as ir

from compiler.lowering.call import Call
from compiler.workloads.operators.conv2d import is_depthwise, is_pointwise
from compiler.workloads.target import Target
from compiler.workloads.winograd import ALGORITHMS
from compiler.workloads.workload import DTYPE_BYTES, Workload
from graph_passes.values import producer, same_graph, sole_user

# Shares of L2, whose size the CPU reports: geometry, not costs. A smaller output stays in L2 without a chain.
_MIN_OUTPUT = 1 / 2
# Each slab reads all weights of the chain again.
_MAX_WEIGHTS = 1 / 4


def find_chains(calls: Mapping[ir.Node, Call], target: Target) -> list[tuple[ir.Node, ...]]:
    """Returns chains: a depthwise convolution with the convolution before it, or a 1x1 convolution after it, or both.

    A depthwise convolution has few operations per byte: from L3 or memory it takes several times as long as from L2.
    The convolution before it, which usually widens the image, has to store the same amount of data. Convolutions that
    may use Winograd's algorithm are not chained, because that algorithm needs the entire image.

    Args:
        calls: the calls of kernels by node, in topological order.
    """
    l2 = target.cache_bytes[1]
    chains = []
    for node, call in calls.items():
        if not _is_stage(call) or not _is_depthwise(call):
            continue
        chain = (node,)
        before, after = producer(node.inputs[0]), sole_user(node.outputs[0])
        if before is not None and _join(before, node, calls, l2) and not _may_use_winograd(calls[before]):
            chain = (before, *chain)
        if after is not None and _join(node, after, calls, l2) and _is_pointwise(calls[after]):
            chain = (*chain, after)
        taken = any(other in earlier for earlier in chains for other in chain)
        if len(chain) > 1 and not taken and _weight_bytes([calls[n] for n in chain]) <= _MAX_WEIGHTS * l2:
            chains.append(chain)
    return chains


def chained(calls: Sequence[Call]) -> Call:
    """Returns the call of a chain that computes these calls in order, each on the output of the one before."""
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


def _is_convolution(call: Call) -> bool:
    return call.op == "conv2d" and call.workload is not None and call.workload.dtype == "float32"


def _is_stage(call: Call) -> bool:
    """Whether another convolution may follow the call in a chain."""
    return _is_convolution(call) and len(call.inputs) == 1 and call.activation is None and call.output_perm is None


def _join(node: ir.Node, after: ir.Node, calls: Mapping[ir.Node, Call], l2: int) -> bool:
    """Whether both nodes are convolutions, and the second is the only user of the first's output, which exceeds L2."""
    call, following = calls.get(node), calls.get(after)
    if call is None or following is None or not _is_convolution(following) or not _is_stage(call):
        return False
    output = node.outputs[0]
    is_private = same_graph(node, after) and sole_user(output) is after and following.inputs[0] is output
    return is_private and _output_bytes(call.workload) > _MIN_OUTPUT * l2


def _is_depthwise(call: Call) -> bool:
    return call.workload is not None and is_depthwise(call.workload) and call.workload.sizes["c"] > 1


def _is_pointwise(call: Call) -> bool:
    return call.workload is not None and is_pointwise(call.workload)


def _may_use_winograd(call: Call) -> bool:
    return call.workload is not None and any(algorithm.applies(call.workload) for algorithm in ALGORITHMS.values())


def _output_bytes(workload: Workload | None) -> int:
    """Bytes of the output for one image of the batch."""
    return 0 if workload is None else prod(workload.output_shape[1:]) * DTYPE_BYTES[workload.dtype]


def _weight_bytes(calls: Sequence[Call]) -> int:
    return sum(weight.nbytes for call in calls for weight in call.weights.values())
