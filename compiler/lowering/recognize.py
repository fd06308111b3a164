"""First step of lowering: which kernel computes a node. Reads the graph and does not change it."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from compiler.lowering import user_operator
from compiler.lowering.call import Call
from compiler.lowering.chains import chained, find_chains
from compiler.lowering.rounding import rounds_next
from compiler.lowering.user_operator import Operators
from compiler.workloads.operators import LAYER_SCHEMAS, OPERATORS
from compiler.workloads.target import Target
from graph_passes.base import DOMAIN as PASSES_DOMAIN
from graph_passes.patterns.layers import FusedLayer
from graph_passes.subgraphs import with_branches
from graph_passes.values import is_op, known_shape


def _recognizers() -> Mapping[str, Callable[[ir.Node], Call | None]]:
    """For each ONNX node that a definition names, ``recognize`` of the operator's module in this package.

    It returns the call of a kernel that computes the node, or None if the kernel does not support the node.
    """
    modules = {
        name: importlib.import_module(f"compiler.lowering.{definition.recognizer or definition.name}")
        for definition in OPERATORS.values()
        for name in definition.onnx
    }
    return {name: module.recognize for name, module in modules.items()}


RECOGNIZERS = _recognizers()


@dataclass(frozen=True)
class Match:
    """Nodes that one call of a kernel computes.

    Attributes:
        nodes: in topological order; more than one in a chain. Only the last one's output is used by other nodes.
        call: the call that computes them.
    """

    nodes: tuple[ir.Node, ...]
    call: Call

    @property
    def name(self) -> str:
        last = self.nodes[-1]
        return last.name or self.outputs[0].name or last.op_type

    @property
    def outputs(self) -> tuple[ir.Value, ...]:
        """The values that the call computes."""
        return tuple(self.nodes[-1].outputs[place] for place in self.call.outputs)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the kernel's first output; the model's is this one transposed by ``call.output_perm``."""
        shape, perm = known_shape(self.outputs[0]), self.call.output_perm
        return shape if perm is None else tuple(shape[axis] for axis in perm)


def recognize(graph: ir.Graph, target: Target, chains: bool, operators: Operators | None = None) -> tuple[Match, ...]:
    """Returns the nodes of a graph and of its branches that our kernels and operators of users compute.

    They are in topological order of their last nodes, those of branches after those of the graph.

    Args:
        chains: whether neighboring convolutions may become one call.
        operators: the operators of users.

    Raises:
        ValueError: an operator of a user does not take one of its nodes.
    """
    weights: dict[Hashable, np.ndarray] = {}
    nodes = [node for part in with_branches(graph) for node in part]
    calls = {node: _shared(call, weights) for node in nodes if (call := _call(node, operators)) is not None}
    chain_by_last = {chain[-1]: chain for chain in find_chains(calls, target)} if chains else {}
    inner = {node for chain in chain_by_last.values() for node in chain[:-1]}
    return tuple(
        Match(nodes, call if len(nodes) == 1 else chained([calls[node] for node in nodes]))
        for node, call in calls.items()
        if node not in inner
        for nodes in [chain_by_last.get(node, (node,))]
    )


def _call(node: ir.Node, operators: Operators | None) -> Call | None:
    if operators is not None and user_operator.is_known(node, operators):
        return user_operator.recognize(node, operators)
    name = _name(node)
    call = RECOGNIZERS[name](node) if name is not None and name in RECOGNIZERS else None
    if call is None:
        return call
    schema = LAYER_SCHEMAS[call.op]
    if not {"fast_algorithms", "dtype"} & {*schema.attributes, *schema.optional}:  # it cannot round more
        return call
    return replace(call, exact=rounds_next(node, call.weights))


def _shared(call: Call, weights: dict[Hashable, np.ndarray]) -> Call:
    """Replaces weights by equal ones of earlier calls, so that a layer that is applied several times has one copy."""
    return replace(call, weights={name: weights.setdefault(_digest(w), w) for name, w in call.weights.items()})


def _digest(weight: np.ndarray) -> Hashable:
    return weight.shape, hashlib.blake2b(np.ascontiguousarray(weight).data).digest()


def _name(node: ir.Node) -> str | None:
    """The name of a node in definitions."""
    fused = FusedLayer.of(node)
    if fused is not None:
        return fused.op
    if node.domain == PASSES_DOMAIN:
        return f"{PASSES_DOMAIN}::{node.op_type}"
    return node.op_type if is_op(node, node.op_type) else None
