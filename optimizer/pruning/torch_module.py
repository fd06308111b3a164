"""Removes channels from PyTorch modules.

The plan is made on the exported ONNX graph, where costs and importance are known. torch-pruning removes the channels
from the module (Fang et al.: DepGraph: Towards Any Structural Pruning, CVPR 2023): its graph has the parameters and
attributes that go together.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
import torch_pruning

from compiler.convert.torch_to_onnx import export
from optimizer.graphs import inputs_of
from optimizer.messages import one_line
from optimizer.plan import Plan
from optimizer.prune import SINGLE
from optimizer.pruning import groups as grouping
from optimizer.pruning.prepared import prepared
from optimizer.pruning.trace import Node
from optimizer.pruning.widths import weight_axes
from optimizer.session import Session

_CLOSE = 1e-3  # of the largest answer: the sums are the same, in another order

Examples = Sequence[Any] | Mapping[str, Any]


def pruned(module: torch.nn.Module, example_inputs: Examples | None, plan: Plan) -> torch.nn.Module:
    """Returns a copy of a module without the channels that a plan removes.

    Args:
        module: of the topology of the plan.
        example_inputs: as for :func:`compiler.build`.
        plan: of :func:`optimizer.prune`.

    Raises:
        ValueError: the module cannot be exported or traced, has another topology, or loses other channels than the
            plan says. The message is one line.
    """
    exported = export(module, example_inputs)
    original = prepared(exported)
    wanted = plan.apply_prepared(original)
    changed = copy.deepcopy(module).eval()
    inputs = _inputs(example_inputs)
    try:
        dependencies = torch_pruning.DependencyGraph().build_dependency(changed, inputs)
    except Exception as error:  # noqa: BLE001 - its errors, and those of the module, share no base class
        raise ValueError(f"torch-pruning cannot trace {type(module).__name__}: {one_line(error)}") from None
    parameters = _parameters(exported, dict(module.named_parameters()))
    found = grouping.find(original)
    removed = plan.removed(found)
    if several := [group.name for group in found.free if group.size > 1 and not set(group.roots).isdisjoint(removed)]:
        raise ValueError(f"{several[0]}: {SINGLE}")
    nodes = {node.name: node for node in original.graph.node}
    # A layer may have channels of several groups, and its positions are those before any of them is removed.
    for node in dict.fromkeys(group.layers[0] for group in found.free):
        _, axis = weight_axes(nodes[node].op_type, Node(nodes[node]).attributes)
        places = np.flatnonzero(np.isin(found.places[nodes[node].input[1], axis], removed))
        if not len(places):
            continue
        name = parameters.get(node)
        if name is None:
            raise ValueError(f"the weight of {node} is not a parameter of {type(module).__name__}")
        layer = changed.get_submodule(name.rpartition(".")[0])
        pruner = dependencies.get_pruner_of_module(layer)
        if pruner is None:
            raise ValueError(f"torch-pruning does not remove channels of {name}")
        together = dependencies.get_pruning_group(layer, pruner.prune_out_channels, places.tolist())
        if not dependencies.check_pruning_group(together):
            raise ValueError(f"torch-pruning does not remove these channels of {name}")
        together.prune()
    _check(wanted, export(changed, example_inputs))
    return changed.train(module.training)


def _inputs(example_inputs: Examples | None) -> Any:
    if isinstance(example_inputs, torch.Tensor):
        return example_inputs
    return dict(example_inputs) if isinstance(example_inputs, Mapping) else tuple(example_inputs or ())


def _parameters(model: onnx.ModelProto, known: Mapping[str, torch.nn.Parameter]) -> dict[str, str]:
    """Returns the name of the parameter that is the weight of each node, by the name of the node.

    The exporter keeps the names of parameters, but not of those that it folds into a transposed constant.
    """
    made_by = {output: node for node in model.graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    arrays = {name: parameter.detach().numpy() for name, parameter in known.items() if parameter.ndim > 1}
    found = {}
    for node in model.graph.node:
        if len(node.input) < 2:
            continue
        name = node.input[1]
        while name in made_by and made_by[name].op_type in ("Identity", "Transpose"):
            name = made_by[name].input[0]
        if name not in weights:
            continue
        if name not in known:
            array = onnx.numpy_helper.to_array(weights[name])
            same = [key for key, own in arrays.items() if _same(own, array) or _same(own.T, array)]
            if not same:
                continue
            name = same[0]
        found[node.name] = name
    return found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b)


def _check(wanted: onnx.ModelProto, found: onnx.ModelProto) -> None:
    """
    Raises:
        ValueError: the answers for random inputs differ.
    """
    rng = np.random.default_rng(0)
    inputs = {}
    for value in inputs_of(wanted):
        kind = value.type.tensor_type
        shape = [dim.dim_value or 1 for dim in kind.shape.dim]
        inputs[value.name] = rng.random(shape).astype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    answers = [list(Session(model)(inputs).values()) for model in (wanted, found)]
    for a, b in zip(*answers, strict=True):
        if a.shape != b.shape or not np.abs(a - b).max(initial=0) <= _CLOSE * np.abs(a).max(initial=1e-30):
            raise ValueError("torch-pruning removes other channels than the plan: the answers differ")
