"""Computes what does not depend on the inputs, and removes nodes without effect.

::

    Shape(x) -> Gather -> Concat -> Reshape(y)   becomes   Reshape(y, [1, 512])
    x -> Identity -> Dropout -> Cast(same type) -> y   becomes   x -> y

The pass uses the optimizer of onnxscript with an explicit list of its rules. The list omits these groups:

- ``x + 0``, ``x - 0``, ``x * 1`` and ``x / 1``: the rules also match 1e-9 and 1.00001. An epsilon before a logarithm
  must stay, so the constants are compared exactly here. (``-0 + 0`` may become -0.)
- Batch normalization: fold_batch_norm covers more cases, and the rule for Gemm ignores ``beta``.
- Clip of Clip: the rule replaces clip(clip(x, -1, 1), 2, 3), which is 2, by clip(x, 1, 1).
- ``auto_pad`` of convolutions: the rule ignores dilations.
- Min and Max: the rules ignore that the shape of a bound can change the shape of the output.

Branches of an If are folded too, unless the result contradicts itself: a branch that never runs need not fit the shapes
of the inputs, and a runtime that checks shapes before it runs would reject the folded model.

Functions are inlined, except those of graph_passes. The opset is raised to that of
``graph_passes/opset.py``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from graph_passes.base import DOMAIN, Pass, Remark, every_node
from graph_passes.evaluate import can_divide, evaluate
from graph_passes.freeze_shapes import fill_constants
from graph_passes.lazy import ir
from graph_passes.opset import quiet, raise_opset
from graph_passes.patterns.integer_shapes import infer_integer_layers
from graph_passes.patterns.window import Window
from graph_passes.quantized_lstm import infer_quantized_lstms
from graph_passes.replacement import consistent
from graph_passes.share_constants import share_constants
from graph_passes.values import bypass, constant, graph_of, is_op, new_constant, producer, scalar, static_shape

NEUTRAL: Mapping[str, int] = {"Add": 0, "Sub": 0, "Mul": 1, "Div": 1}  # as the second operand
SEVERAL = ("Split", "TopK")
STEPS = 4  # rounds of folding and rewriting; a round may enable more in the next one


@dataclass(frozen=True)
class FoldConstants(Pass):
    name: ClassVar[str] = "fold_constants"
    largest: int = field(default=2**24, metadata={"help": "elements of a tensor above which it is not folded"})

    def apply(self, model: ir.Model) -> Iterable[Remark]:
        from onnx_ir.passes import common

        quiet()
        common.InlinePass(lambda function: function.domain != DOMAIN)(model)
        remarks = list(raise_opset(model))
        unfit = _unfit(model, self.largest)
        if unfit:
            remarks.append(Remark("control flow", f"{len(unfit)} branches are not folded: they do not fit the shapes"))
        fold(model, self.largest, unfit)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        common.LiftSubgraphInitializersToMainGraphPass()(model)
        common.RemoveUnusedOpsetsPass()(model)
        return remarks


def fold(model: ir.Model, largest: int, kept: Collection[int] = ()) -> None:
    """Folds and rewrites until nothing changes; ``kept`` are the places of branches that stay, in :func:`_branches`."""
    from onnx_ir.passes import common
    from onnxscript import rewriter

    tops = [branch for place, branch in enumerate(_branches(model)) if place in kept]
    skipped = {graph for branch in tops for graph in (branch, *branch.subgraphs())}
    rules, folding = rewriter.RewritePass(_rules()), _folding(largest, skipped)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    share_constants(model)
    for _ in range(STEPS):
        fill_constants(model)
        folded = folding(model)
        dropped = _drop_noops(model, skipped) | _fix_shapes(model, skipped) | _fold_several(model, skipped)
        dropped |= infer_quantized_lstms(model)  # shapes that folding reveals are those of the next LSTM's input
        dropped |= infer_integer_layers(model)
        _write_pads(model, skipped)
        if not (rules(model).modified or folded.modified or dropped):
            break
        common.RemoveUnusedNodesPass()(model)


def _branches(model: ir.Model) -> list[ir.Graph]:
    """Returns the outermost graphs of control flow, always in the same order."""
    attributes = (attribute for node in model.graph for attribute in node.attributes.values())
    return [graph for attribute in attributes for graph in _graphs(attribute)]


def _graphs(attribute: ir.Attr) -> Sequence[ir.Graph]:
    if attribute.is_ref() or attribute.type not in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return ()
    return [attribute.as_graph()] if attribute.type == ir.AttributeType.GRAPH else attribute.as_graphs()


def _unfit(model: ir.Model, largest: int) -> set[int]:
    """Returns the places of branches in which folding reveals that shapes do not fit. Such a branch can never run."""
    places = set(range(len(_branches(model))))

    def fits(kept: set[int]) -> bool:
        trial = model.clone()
        fold(trial, largest, kept)
        return consistent(trial)

    if not places or not consistent(model) or fits(set()):
        return set()
    return {place for place in places if not fits(places - {place})}


def _folding(largest: int, skipped: Collection[ir.Graph]) -> ir.passes.PassBase:
    """Returns the optimizer's constant folding.

    More operators are excluded, errors of its rules are ignored, and the graphs ``skipped`` stay.
    """
    from onnxscript.optimizer._constant_folding import FoldConstantsPass

    class Folding(FoldConstantsPass):
        def visit_graph(self, graph: ir.Graph) -> None:
            if graph not in skipped:
                super().visit_graph(graph)

        def process_node(self, node: ir.Node, is_function: bool):
            if is_op(node, "CastLike") and not node.attributes.get_int("saturate", 1):
                return None  # the rule creates a Cast that saturates
            try:
                return super().process_node(node, is_function)
            except RuntimeError:  # for example from the rule for SplitToSequence with an unknown split
                return None

    return Folding(
        shape_inference=True,
        input_size_limit=largest,
        output_size_limit=largest,
        should_fold=lambda node: False if _stays(node) else None,
    )


def _stays(node: ir.Node) -> bool:
    """Returns whether a node must not be computed in advance, beyond those that the optimizer excludes itself."""
    if is_op(node, "Bernoulli", "Dropout"):  # they draw random numbers in every run
        return True
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    if any(value.dtype == ir.DataType.STRING for value in values):  # the optimizer writes tensors that are not valid
        return True
    return is_op(node, "Div", "Mod") and not can_divide(*(constant(value) for value in node.inputs))


def _rules() -> tuple:
    from onnxscript.rewriter.rules import common as rules

    return (
        rules.no_op_cast_rule,
        rules.cast_cast_rule,
        rules.no_op_expand_rule,
        rules.no_op_transpose_rule,
        rules.transpose_transpose_rule,
        rules.reshape_reshape_rule,
        rules.unsqueeze_unsqueeze_rule,
        rules.collapse_slice_rule,
        rules.collapse_slice2_rule,
        rules.successive_relu_rule,
        rules.fuse_pad_into_conv_rule,
    )


def _drop_noops(model: ir.Model, skipped: Collection[ir.Graph]) -> bool:
    """Removes nodes that return their input, except in the graphs ``skipped``. Returns whether there were any."""
    dropped = False
    for node in every_node(model):
        kept = None if node.graph in skipped else _passed_on(node)
        dropped |= kept is not None and bypass(node, kept)
    return dropped


def _write_pads(model: ir.Model, skipped: Collection[ir.Graph]) -> None:
    """Gives convolutions with ``auto_pad`` explicit pads. onnxscript's rule for it ignores dilations."""
    for node in every_node(model):
        if node.graph not in skipped and is_op(node, "Conv") and _auto_pad(node) != "NOTSET":
            window = Window.of(node)
            if window is not None:
                window.write(node)


def _fold_several(model: ir.Model, skipped: Collection[ir.Graph]) -> bool:
    """Folds small constants with several outputs, which onnxscript leaves. Returns whether there were any."""
    folded = False
    for node in every_node(model):
        if node.graph in skipped or not is_op(node, *SEVERAL):
            continue
        known = all(value is None or constant(value) is not None for value in node.inputs)
        if not known or any(output.is_graph_output() for output in node.outputs):
            continue
        arrays = [evaluate(output) for output in node.outputs]
        if any(array is None for array in arrays):
            continue
        for output, array in zip(node.outputs, arrays, strict=True):
            output.replace_all_uses_with(new_constant(model.graph, f"{output.name}_folded", np.asarray(array)))
        graph_of(node).remove(node, safe=True)
        folded = True
    return folded


def _auto_pad(node: ir.Node) -> str:
    return node.attributes.get_string("auto_pad", "NOTSET") or "NOTSET"


def _fix_shapes(model: ir.Model, skipped: Collection[ir.Graph]) -> bool:
    """Makes the shape of each Reshape constant that the program computes from shapes alone. Returns whether it did.

    A shape that is data, on the other hand, may differ from the one that the model states.
    """
    fixed = False
    for node in every_node(model):
        if node.graph in skipped or not is_op(node, "Reshape") or constant(node.inputs[1]) is not None:
            continue
        shape = static_shape(node.outputs[0])
        if shape is None or 0 in shape or not _is_of_shapes(node.inputs[1]):
            continue
        name = f"{node.outputs[0].name}_shape"
        node.replace_input_with(1, new_constant(graph_of(node), name, np.array(shape, np.int64)))
        fixed = True
    return fixed


def _is_of_shapes(value: ir.Value | None) -> bool:
    """Returns whether a value depends on the shapes of the inputs, but not on their elements."""
    waiting, seen = [value], set()
    while waiting:
        value = waiting.pop()
        node = producer(value)
        if value is None or value in seen or value.const_value is not None or is_op(node, "Shape", "Size"):
            continue
        seen.add(value)
        if node is None:
            return False
        waiting += node.inputs
    return True


def _passed_on(node: ir.Node) -> ir.Value | None:
    """Returns the input that a node returns unchanged; None if it computes something."""
    if is_op(node, *NEUTRAL):
        return next((node.inputs[place] for place in (0, 1) if _is_neutral(node, 1 - place)), None)
    return node.inputs[0] if _does_nothing(node) else None


def _is_neutral(node: ir.Node, place: int) -> bool:
    """Returns whether an operand is a constant that changes neither the elements nor the shape of the other operand."""
    array, other = constant(node.inputs[place]), node.inputs[1 - place]
    if array is None or other is None or (place == 0 and is_op(node, "Sub", "Div")):
        return False
    if not (array == NEUTRAL[node.op_type]).all():
        return False
    if array.ndim == 0:
        return True
    if other.shape is None or array.ndim > len(other.shape):
        return False
    aligned = other.shape[len(other.shape) - array.ndim :]
    return all(size in (1, dim) for size, dim in zip(array.shape, aligned, strict=True))


def _does_nothing(node: ir.Node) -> bool:
    if is_op(node, "Identity"):
        return True
    if is_op(node, "Dropout"):
        training = node.inputs[2] if len(node.inputs) > 2 else None
        trains = training is not None and (constant(training) is None or bool(scalar(training)))
        return not trains and not any(output.uses() or output.is_graph_output() for output in node.outputs[1:])
    if is_op(node, "Reshape"):
        x, y = node.inputs[0], node.outputs[0]
        return (
            x is not None and x.shape is not None and y.shape is not None and x.shape.is_static() and x.shape == y.shape
        )
    return False
