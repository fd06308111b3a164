"""What every pass is: a frozen dataclass whose fields are its parameters, and one method that rewrites a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.lazy import ir

DOMAIN = "loopwright"  # of the model-local functions that layers become


@dataclass(frozen=True)
class Remark:
    """What a pass says of one place: why it left it as it was, or what it chose."""

    where: str  # a node or a value, by name and operator
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True)
class Pass(ABC):
    """Rewrites a model into one that gives the same answers.

    A pass leaves what it does not know as it is, and says why where it refuses what it does know. Applied twice it
    changes nothing the second time. It depends on no other pass having run before.
    """

    name: ClassVar[str]

    def __call__(self, model: ir.Model) -> list[Remark]:
        """Rewrites ``model`` in place, and leaves neither unused nodes nor names that stand for two things."""
        from onnx_ir.passes import common

        common.RemoveUnusedNodesPass()(model)  # what nobody reads is no reader of what a pass would fold or fuse
        remarks = list(dict.fromkeys(self.apply(model)))
        for tidy in (common.RemoveUnusedNodesPass(), common.RemoveUnusedFunctionsPass(), common.NameFixPass()):
            tidy(model)
        return remarks

    @abstractmethod
    def apply(self, model: ir.Model) -> Iterable[Remark]:
        """Rewrites ``model`` in place, and says what is worth saying."""


def described(thing: ir.Node | ir.Value) -> str:
    """A node or value as a user knows it."""
    if isinstance(thing, ir.Node):
        name = thing.name or (thing.outputs[0].name if thing.outputs else "")
        return f"{thing.op_type} {name}"
    return str(thing.name)


def too_old(model: ir.Model, oldest: int) -> Remark | None:
    """Why a pass that writes operators of opset ``oldest`` leaves the model as it is; None where it need not."""
    opset = model.opset_imports.get("", 0)
    if opset >= oldest:
        return None
    return Remark("opset", f"{opset} is too old, {oldest} is needed; fold_constants raises it")


def every_graph(model: ir.Model) -> Iterator[ir.Graph]:
    """The main graph and those of its control flow. Bodies of functions are not among them."""
    yield model.graph
    yield from model.graph.subgraphs()


def every_node(model: ir.Model) -> Iterator[ir.Node]:
    """The nodes of those graphs, in order, that are still there when their turn comes."""
    for graph in every_graph(model):
        for node in list(graph):
            if node.graph is graph:
                yield node
