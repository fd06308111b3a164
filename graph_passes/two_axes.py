"""Rewrites images of one axis and of three axes into images of two axes.

::

    x (n, c, l) ── Conv ── Relu ──┬── MaxPool ── Conv ── Concat ── y
                                  └────────────────────────┘

    x ── Unsqueeze ── Conv 1xk ── Relu ──┬── MaxPool 1xk ── Conv 1xk ── Concat ── Squeeze ── y
                                         └────────────────────────────────┘

An image (n, c, l) becomes (n, c, 1, l), and a volume (1, c, d, h, w) becomes d images (d, c, h, w). Convolutions and
poolings of such images always change. Other operators change if they read the output of one that changed, so values are
converted only where an operator needs the original axes. A convolution of volumes becomes one of images whose channels
are those of all layers that a window reads (``image_axes/volumes.py``).

The pass is for runtimes with kernels for images of two axes only. It runs before layers are fused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from graph_passes.base import Pass, Remark, described, too_old
from graph_passes.image_axes.edit import Edit, Rule
from graph_passes.image_axes.followers import (
    along_axis,
    elementwise,
    normalized_images,
    of_first,
    pad,
    reduction,
    reshape,
    resize,
    sizes,
    slices,
    transpose,
)
from graph_passes.image_axes.lifting import ONE_AXIS, Lifting, lifting_of
from graph_passes.image_axes.volumes import convolution_of_volumes, mean_of_volume, pooling_of_volumes
from graph_passes.image_axes.windows import window_of_one_axis
from graph_passes.layout.axes import dims_of
from graph_passes.layout.forms import ELEMENTWISE, REDUCTIONS
from graph_passes.lazy import ir
from graph_passes.subgraphs import with_branches
from graph_passes.values import STANDARD, data_input

OLDEST_OPSET = 18  # in which axes are inputs of all operators

# Operators over windows, which change wherever their input is an image of one axis, or a volume.
OF_ONE_AXIS: Mapping[str, Rule] = dict.fromkeys(
    ("AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool"),
    window_of_one_axis,
)
OF_VOLUMES: Mapping[str, Rule] = {
    "AveragePool": pooling_of_volumes,
    "Conv": convolution_of_volumes,
    "GlobalAveragePool": mean_of_volume,
    "GlobalMaxPool": mean_of_volume,
    "MaxPool": pooling_of_volumes,
}
# Operators that change if an input was written by an operator that changed. Others do not change.
FOLLOWERS: Mapping[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys((name for name in REDUCTIONS if not name.startswith("Arg")), reduction),
    **dict.fromkeys(("BatchNormalization", "Clip", "Dropout", "LRN"), of_first),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization"), normalized_images),
    **dict.fromkeys(("Expand", "Tile"), sizes),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze", "Unsqueeze"), reshape),
    **dict.fromkeys(("Hardmax", "LogSoftmax", "LpNormalization", "Softmax"), along_axis(-1)),
    **dict.fromkeys(("DequantizeLinear", "QuantizeLinear"), along_axis(1)),
    "Concat": along_axis(None, all_inputs=True),
    "Pad": pad,
    "Resize": resize,
    "Slice": slices,
    "Split": along_axis(0),
    "Transpose": transpose,
}


@dataclass(frozen=True)
class TwoAxes(Pass):
    name: ClassVar[str] = "two_axes"

    def apply(self, model: ir.Model) -> Iterator[Remark]:
        graphs = [graph for graph in with_branches(model.graph) if any(_window_rule(node) for node in graph)]
        remark = too_old(model, OLDEST_OPSET)
        if graphs and remark is not None:
            yield remark
            return
        for graph in graphs:
            yield from _rewrite(graph)


def _rewrite(graph: ir.Graph) -> Iterator[Remark]:
    edit = Edit(graph)
    for node in list(graph):
        lifting, rule = _lifting(edit, node), _window_rule(node)
        if rule is not None and lifting is not None:
            if not edit.rewrite(node, rule, lifting):
                yield Remark(described(node), "keeps its axes: a size or an operand is unknown, or its form is rare")
        elif lifting is not None and node.domain in STANDARD and node.op_type in FOLLOWERS:
            edit.rewrite(node, FOLLOWERS[node.op_type], lifting)
    edit.finish()


def _window_rule(node: ir.Node) -> Rule | None:
    """Returns the rule of an operator over windows of images of one or three axes; None for any other node."""
    lifting = lifting_of(dims_of(data_input(node, 0))) if node.domain in STANDARD and node.inputs else None
    if lifting is None:
        return None
    return (OF_ONE_AXIS if lifting is ONE_AXIS else OF_VOLUMES).get(node.op_type)


def _lifting(edit: Edit, node: ir.Node) -> Lifting | None:
    """Returns how the images that a node reads are lifted; None if it reads none that should be."""
    if _window_rule(node) is not None:
        return lifting_of(dims_of(node.inputs[0]))
    for value in node.inputs:
        if value is not None and value in edit.written:
            return lifting_of(dims_of(value))
    return None
