"""The interface of a pass: a frozen dataclass whose fields are its parameters, and one method that rewrites a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.lazy import ir

DOMAIN = "loopwright"  # of the model-local functions that passes create


@dataclass(frozen=True)
class Remark:
    """A note of a pass about one node or value: a choice that it made, or why it did not rewrite."""

    where: str  # the name and operator of a node, or the name of a value
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Pass(ABC):
    """Rewrites a model into one that computes the same outputs.

    A pass leaves unsupported operators unchanged. If it cannot rewrite a supported operator, it gives the reason in a
    remark. Passes are idempotent and do not depend on each other.
    """

    name: ClassVar[str]

    def __call__(self, model: ir.Model) -> list[Remark]:
        """Rewrites ``model`` in place, then removes unused nodes and functions and makes names unique."""
        from onnx_ir.passes import common

        constants = [value for graph in every_graph(model) for value in graph.initializers.values()]
        common.RemoveUnusedNodesPass()(model)  # an unused reader would prevent folding and fusion
        remarks = list(dict.fromkeys(self.apply(model)))
        for tidy in (common.RemoveUnusedNodesPass(), common.RemoveUnusedFunctionsPass(), common.NameFixPass()):
            tidy(model)
        release(value for value in constants if not value.is_initializer())
        return remarks

    @abstractmethod
    def apply(self, model: ir.Model) -> Iterable[Remark]:
        """Rewrites ``model`` in place and returns remarks."""


def release(constants: Iterable[ir.Value]) -> None:
    """Frees the elements of constants that are no longer part of a graph.

    onnx_ir's shape inference leaves a reference to each initializer in the model, which would keep them.
    """
    for value in constants:
        value.const_value = None


def described(thing: ir.Node | ir.Value) -> str:
    """Returns a user-readable description of a node or value: its name, and the operator of a node."""
    if isinstance(thing, ir.Node):
        name = thing.name or (thing.outputs[0].name if thing.outputs else "")
        return f"{thing.op_type} {name}"
    return str(thing.name)


def too_old(model: ir.Model, oldest: int) -> Remark | None:
    """Returns a remark if the model's opset is below ``oldest``, the first opset that the pass supports."""
    opset = model.opset_imports.get("", 0)
    if opset >= oldest:
        return None
    return Remark("opset", f"{opset} is not supported, at least {oldest} is required; fold_constants raises the opset")


def every_graph(model: ir.Model) -> Iterator[ir.Graph]:
    """Yields the main graph and the graphs of its control flow, but no function bodies."""
    yield model.graph
    yield from model.graph.subgraphs()


def every_node(model: ir.Model) -> Iterator[ir.Node]:
    """Yields the nodes of these graphs in order. Nodes that were removed since the iteration began are skipped."""
    for graph in every_graph(model):
        for node in list(graph):
            if node.graph is graph:
                yield node
