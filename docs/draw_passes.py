"""Draws a small model before and after each graph pass, for docs/graph_passes.md: ``python docs/draw_passes.py``.

Each model is written in ONNX's text format. The script runs the pass and lays out both graphs in layers. Weights are
filled with seeded numbers and listed in the node that reads them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import matplotlib

matplotlib.use("Agg")

import numpy as np
import onnx
import onnx.parser
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve
from matplotlib.textpath import TextPath
from onnx import helper, numpy_helper

import graph_passes
from graph_passes import PassReport
from graph_passes.report import amount

FOLDER = Path(__file__).resolve().parent / "graph_passes"

# --- The models ---


@dataclass(frozen=True)
class Example:
    """A model for one pass. Values declared in ``<...>`` without a producer are weights."""

    text: str
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


EXAMPLES: Mapping[str, Example] = {
    "freeze_shapes": Example(
        """
        g (float[N, 3, H, W] x, float[8, 3, 3, 3] weight) => (float[N, M] y)
        <float[8, 3, 3, 3] weight, int64[3] shape = {8, 1, 1}, int64[1] first = {0}, int64[1] rest = {-1}>
        {
            convolved = Conv <pads: ints = [1, 1, 1, 1]> (x, weight)
            bias = ConstantOfShape (shape)
            sum = Add (convolved, bias)
            pooled = MaxPool <kernel_shape: ints = [8, 8], strides: ints = [8, 8]> (sum)
            sizes = Shape (pooled)
            batch = Gather (sizes, first)
            wanted = Concat <axis: int = 0> (batch, rest)
            y = Reshape (pooled, wanted)
        }""",
        {"x": (1, 3, 32, 32)},
    ),
    "fold_constants": Example(
        """
        g (float[1, 64, 7, 7] x) => (float[1, 10] y)
        <float[64, 10] W, float[10] b, int64[1] first = {0}, int64[1] rest = {-1}>
        {
            pooled = GlobalAveragePool (x)
            same = Identity (pooled)
            dropped = Dropout (same)
            sizes = Shape (dropped)
            batch = Gather (sizes, first)
            wanted = Concat <axis: int = 0> (batch, rest)
            flat = Reshape (dropped, wanted)
            y = Gemm (flat, W, b)
        }""",
    ),
    "fold_batch_norm": Example(
        """
        g (float[1, 16, 14, 14] x) => (float[1, 16, 14, 14] y)
        <float[16, 16, 3, 3] W1, float[16] gamma1, float[16] beta1, float[16] mean1, float[16] var1,
         float[16, 16, 1, 1] W2, float[16] b2, float[16, 1, 1] scale, float[16, 1, 1] shift,
         float[16] gamma2, float[16] beta2, float[16] mean2, float[16] var2>
        {
            c1 = Conv <pads: ints = [1, 1, 1, 1]> (x, W1)
            n1 = BatchNormalization (c1, gamma1, beta1, mean1, var1)
            r1 = Relu (n1)
            c2 = Conv (r1, W2, b2)
            m2 = Mul (c2, scale)
            n2 = Add (m2, shift)
            sum = Add (n2, x)
            n3 = BatchNormalization (sum, gamma2, beta2, mean2, var2)
            y = Relu (n3)
        }""",
    ),
    "optimize_strides": Example(
        """
        g (float[1, 16, 16, 16] x) => (float[1, 8, 8, 8] y, float[1, 32, 8, 8] shortcut)
        <float[4, 16, 1, 1] W1, float[4, 4, 3, 3] W2, float[16, 4, 1, 1] W3,
         float[8, 16, 1, 1] W4, float[32, 16, 1, 1] W5>
        {
            c1 = Conv (x, W1)
            r1 = Relu (c1)
            c2 = Conv <pads: ints = [1, 1, 1, 1]> (r1, W2)
            r2 = Relu (c2)
            c3 = Conv (r2, W3)
            sum = Add (c3, x)
            r3 = Relu (sum)
            y = Conv <strides: ints = [2, 2]> (r3, W4)
            shortcut = Conv <strides: ints = [2, 2]> (r3, W5)
        }""",
    ),
    "fuse_layers": Example(
        """
        g (float[1, 16, 14, 14] x, float[128, 64] tokens) => (float[1, 16, 14, 14] image, float[128, 256] features)
        <float[16, 16, 3, 3] W1, float[16] b1, float[64, 256] W2, float[256] b2,
         float root = {1.4142135}, float one = {1}, float half = {0.5}>
        {
            c = Conv <pads: ints = [1, 1, 1, 1]> (x, W1, b1)
            sum = Add (c, x)
            image = Relu (sum)
            product = MatMul (tokens, W2)
            p = Add (product, b2)
            scaled = Div (p, root)
            bent = Erf (scaled)
            raised = Add (bent, one)
            both = Mul (p, raised)
            features = Mul (both, half)
        }""",
    ),
    "expand_functions": Example(
        """
        g (float[5, 6] x) => (float[3, 8] y)
        <int64[2] size = {3, 8}>
        {
            y = CenterCropPad (x, size)
        }""",
    ),
    "inline_functions": Example(
        """
        g (float[1, 64] x) => (float[1, 16] y)
        <float[64, 16] W, float[16] b>
        {
            y = loopwright.MatMul_bias_relu (x, W, b)
        }
        <domain: "loopwright", opset_import: ["" : 18]>
        MatMul_bias_relu (x, w, b) => (y)
        {
            product = MatMul (x, w)
            sum = Add (product, b)
            y = Relu (sum)
        }""",
    ),
    "resolve_branches": Example(
        """
        g (float[1, 4, 8] x) => (float[1, 4, 8] y)
        <int64[1] one = {1}>
        {
            classes = Shape <start: int = 1, end: int = 2> (x)
            several = Greater (classes, one)
            y = If <
                then_branch = a () => (float[1, 4, 8] t) { t = Softmax <axis: int = 1> (x) },
                else_branch = b () => (float[1, 4, 8] e) { e = Sigmoid (x) }
            > (several)
        }""",
    ),
    "unroll_loops": Example(
        """
        g (float[1, 4] x) => (float[1, 4] y)
        <float[4, 4] W, int64 three = {3}, bool yes = {1}>
        {
            y = Loop <body = b (int64 i, bool c, float[1, 4] s) => (bool goes_on, float[1, 4] after) {
                goes_on = Identity (c)
                product = MatMul (s, W)
                after = Tanh (product)
            }> (three, yes, x)
        }""",
    ),
    "unroll_recurrences": Example(
        """
        g (float[2, 1, 8] x) => (float[2, 1, 1, 4] y)
        <float[1, 12, 8] W, float[1, 12, 4] R, float[1, 24] b>
        {
            y = GRU <hidden_size: int = 4> (x, W, R, b)
        }""",
    ),
    "unroll_lstm": Example(
        """
        g (float[2, 1, 8] x) => (float[2, 1, 1, 4] y)
        <float[1, 16, 8] W, float[1, 16, 4] R, float[1, 32] b>
        {
            y = LSTM <hidden_size: int = 4> (x, W, R, b)
        }""",
    ),
    "block_weights": Example(
        """
        g (float[1, 384] x) => (float[1, 384] y)
        <int8[384, 384] W, float[384] W_scale>
        {
            weight = DequantizeLinear <axis: int = 1> (W, W_scale)
            y = MatMul (x, weight)
        }""",
    ),
    "integer_layers": Example(
        """
        g (float[128, 384] x) => (float[128, 384] y)
        <int8[384, 384] W, float W_scale = {0.01}>
        {
            q, scale, zero = DynamicQuantizeLinear (x)
            sum = MatMulInteger (q, W, zero)
            number = Cast <to: int = 1> (sum)
            both = Mul (scale, W_scale)
            y = Mul (number, both)
        }""",
    ),
    "integer_products": Example(
        """
        g (float[1, 8, 14, 14] x) => (float[1, 16, 14, 14] y)
        <uint8[16, 8, 3, 3] W, uint8 middle = {128}, float W_scale = {0.02}>
        {
            q, scale, zero = DynamicQuantizeLinear (x)
            sum = ConvInteger <pads: ints = [1, 1, 1, 1]> (q, W, zero, middle)
            number = Cast <to: int = 1> (sum)
            both = Mul (scale, W_scale)
            y = Mul (number, both)
        }""",
    ),
    "normalize_qdq": Example(
        """
        g (uint8[1, 8, 14, 14] q) => (uint8[1, 16, 14, 14] y)
        <float scale = {0.02}, uint8 zero = {0}, int8[16, 8, 1, 1] W, float W_scale = {0.01}>
        {
            x = DequantizeLinear (q, scale, zero)
            weight = DequantizeLinear (W, W_scale)
            sum = Conv (x, weight)
            positive = Relu (sum)
            y = QuantizeLinear (positive, scale, zero)
        }""",
    ),
    "quantized_values": Example(
        """
        g (float[1, 8, 14, 14] x) => (float[1, 8, 7, 7] y)
        <float scale = {0.02}, uint8 zero = {128}>
        {
            q = QuantizeLinear (x, scale, zero)
            r = DequantizeLinear (q, scale, zero)
            m = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (r)
            p = QuantizeLinear (m, scale, zero)
            y = DequantizeLinear (p, scale, zero)
        }""",
    ),
    "forms_for_tvm": Example(
        """
        g (float[1, 320, 1] signal) => (float[1, 4, 65, 2] y)
        <int64 step = {64}, float[128] window, int64 length = {128}>
        {
            y = STFT <onesided: int = 1> (signal, step, window, length)
        }""",
    ),
    "float32_layers": Example(
        """
        g (float16[1, 4, 8, 8] x) => (float16[1, 8, 8, 8] y)
        <float16[8, 4, 3, 3] W1, float16[8, 8, 1, 1] W2>
        {
            c1 = Conv <pads: ints = [1, 1, 1, 1]> (x, W1)
            r1 = Relu (c1)
            y = Conv (r1, W2)
        }""",
    ),
    "two_axes": Example(
        """
        g (float[1, 4, 32] x) => (float[1, 8, 16] y)
        <float[8, 4, 5] W1, float[8, 8, 3] W2>
        {
            c1 = Conv <pads: ints = [2, 2]> (x, W1)
            r1 = Relu (c1)
            p1 = MaxPool <kernel_shape: ints = [2], strides: ints = [2]> (r1)
            c2 = Conv <pads: ints = [1, 1]> (p1, W2)
            y = Add (c2, p1)
        }""",
    ),
    "channels_last": Example(
        """
        g (float[1, 3, 32, 32] x) => (float[1, 32] y)
        <float[16, 3, 3, 3] W1, float[16, 16, 1, 1] W2, float[16, 16, 3, 3] W3>
        {
            c1 = Conv <strides: ints = [2, 2], pads: ints = [1, 1, 1, 1]> (x, W1)
            p1 = MaxPool <kernel_shape: ints = [2, 2], strides: ints = [2, 2]> (c1)
            c2 = Conv (p1, W2)
            c3 = Conv <pads: ints = [1, 1, 1, 1]> (p1, W3)
            both = Concat <axis: int = 1> (c2, c3)
            mean = GlobalAveragePool (both)
            y = Flatten (mean)
        }""",
    ),
}


@dataclass(frozen=True)
class Outcome:
    before: onnx.ModelProto
    after: onnx.ModelProto
    report: PassReport


def model_of(example: Example) -> onnx.ModelProto:
    """The example as a model, with the shapes that onnx infers."""
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 18, "loopwright" : 1]> ' + example.text)
    if not model.functions:
        del model.opset_import[1:]
    graph = model.graph
    made = {name for node in graph.node for name in node.output} | {tensor.name for tensor in graph.initializer}
    rng = np.random.default_rng(0)
    for value in [value for value in graph.value_info if value.name not in made]:
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        numbers = rng.uniform(0.5, 1.5, sizes) * (100 if dtype.kind == "u" else 1)
        graph.initializer.append(numpy_helper.from_array(numbers.astype(dtype), value.name))
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def outcome(name: str) -> Outcome:
    """Runs a pass alone on its example."""
    example = EXAMPLES[name]
    before = model_of(example)
    optimized = graph_passes.optimize(before, input_shapes=example.input_shapes, passes=[name])
    return Outcome(before, optimized.model, optimized.reports[0])


# --- Boxes ---

# One color per kind, distinguishable for color-blind readers (Okabe and Ito).
COLORS = {
    "convolution, product": "#0072B2",
    "call of a function": "#CC79A7",
    "control flow": "#882255",
    "normalization": "#D55E00",
    "elementwise": "#F0E442",
    "pooling": "#56B4E9",
    "data movement": "#999999",
    "shapes and constants": "#009E73",
    "input, output": "#000000",
}
KINDS = {
    "convolution, product": "Conv ConvInteger ConvTranspose GRU Gemm LSTM MatMul MatMulInteger STFT",
    "control flow": "If Loop",
    "normalization": "BatchNormalization LayerNormalization",
    "pooling": "MaxPool AveragePool GlobalAveragePool ReduceMax ReduceMean ReduceMin",
    "data movement": "Concat Dropout Flatten Identity Reshape Slice Split Squeeze Transpose",
    "shapes and constants": "ConstantOfShape Gather Shape Unsqueeze",
}
KIND_OF = {op_type: kind for kind, op_types in KINDS.items() for op_type in op_types.split()}
FONT = "DejaVu Sans"  # comes with matplotlib; drawn as outlines, so a viewer needs no font
NAME_SIZE, LINE_SIZE, SHAPE_SIZE = 8.0, 6.8, 6.5  # points, like all lengths in this file


@dataclass(eq=False)
class Box:
    """A node, an input or an output; or, without lines, a place where an arrow passes a layer of boxes."""

    kind: str = ""
    lines: list[str] = field(default_factory=list)
    shape: str = ""  # of its output
    bold: int = 0  # index of the line with the operator
    sources: list[Box] = field(default_factory=list)
    targets: list[Box] = field(default_factory=list)
    layer: int = 0
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        return max((_width(text, self._size(i), i == self.bold) for i, text in enumerate(self.lines)), default=0) + (
            12 if self.lines else 0
        )

    @property
    def height(self) -> float:
        return sum(self._size(i) * 1.3 for i in range(len(self.lines))) + (7 if self.lines else 0)

    @property
    def right(self) -> float:
        """Extent to the right of the center, including the shape next to the arrow."""
        return max(self.width / 2, 4 + _width(self.shape, SHAPE_SIZE) if self.shape else 0)

    def _size(self, line: int) -> float:
        return NAME_SIZE if line == self.bold else LINE_SIZE


@cache
def _width(text: str, size: float, bold: bool = False) -> float:
    if not text:
        return 0
    font = FontProperties(family=FONT, weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width)


def boxes_of(model: onnx.ModelProto) -> list[Box]:
    """Returns boxes for inputs, nodes and outputs in topological order."""
    graph = model.graph
    shapes = {v.name: _shape(v) for v in [*graph.input, *graph.value_info, *graph.output]}
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    makers = {v.name: Box("input, output", [v.name], shapes[v.name]) for v in graph.input}
    boxes = list(makers.values())
    for v in graph.input:
        if v.name in constants:
            makers[v.name].lines.append("has a default")
    for node in graph.node:
        held = {name: constants[name] for name in node.input if name in constants and name not in makers}
        sources = [makers[name] for name in (*node.input, *_read_inside(node)) if name in makers]
        kind = "call of a function" if node.domain else KIND_OF.get(node.op_type, "elementwise")
        box = Box(kind, _lines(node, held), shapes.get(node.output[0], ""), int(bool(node.domain)), sources)
        makers |= dict.fromkeys(node.output, box)
        boxes.append(box)
    boxes += [Box("input, output", [v.name], sources=[makers[v.name]]) for v in graph.output]
    for box in boxes:
        for source in dict.fromkeys(box.sources):
            source.targets.append(box)
    return boxes


def _read_inside(node: onnx.NodeProto) -> Iterator[str]:
    """Yields the names that the nodes of subgraphs read."""
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from inner.input


def _shape(value: onnx.ValueInfoProto) -> str:
    if not value.type.tensor_type.HasField("shape"):
        return ""
    dims = value.type.tensor_type.shape.dim
    names = [d.dim_param if d.dim_param and not d.dim_param.startswith("unk__") else "?" for d in dims]
    sizes = [str(d.dim_value) if d.HasField("dim_value") else name for d, name in zip(dims, names, strict=True)]
    return "×".join(sizes) or "scalar"


def _lines(node: onnx.NodeProto, held: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the domain, the operator, attributes that differ from the default, and constants."""
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    texts = [*_window(node, given, held)]
    texts += [f"{name} {_plain(given[name])}" for name in ("perm", "axis") if name in given]
    lines = [text for text in (node.domain, node.op_type, ", ".join(texts)) if text]
    for attribute in (a for a in node.attribute if a.HasField("g")):
        inside = ", ".join(inner.op_type for inner in attribute.g.node)
        lines.append(f"{attribute.name.removesuffix('_branch')}: {inside}")
    vectors = [name for name, array in held.items() if array.ndim == 1 and array.size > 4]
    if len(vectors) > 2:  # statistics
        lines += [", ".join(vectors[place : place + 2]) + f" {held[vectors[0]].size}" for place in (0, 2)]
        return lines
    return [*lines, *(_constant(name, array) for name, array in held.items())]


def _window(node: onnx.NodeProto, given: Mapping, held: Mapping[str, np.ndarray]) -> Iterator[str]:
    kernel = given.get("kernel_shape") or next((a.shape[2:] for a in held.values() if a.ndim == 4), None)
    if kernel is None or not ({"strides", "pads", "kernel_shape"} & given.keys() or "Conv" in node.op_type):
        return
    yield "×".join(map(str, kernel))
    if set(given.get("strides", [1])) != {1}:
        yield f"stride {_plain(given['strides'])}"
    if any(given.get("pads", [])):
        yield f"pad {_plain(given['pads'])}"


def _plain(number: int | Sequence[int]) -> str:
    """Formats numbers, as a single number if all are equal."""
    if isinstance(number, int):
        return str(number)
    return str(number[0]) if len(set(number)) == 1 else " ".join(map(str, number))


def _constant(name: str, array: np.ndarray) -> str:
    if array.ndim == 0:
        return f"{name} {array.item():.4g}"
    if array.dtype.kind == "i" and array.ndim == 1:
        return f"{name} [{', '.join(map(str, array.tolist()))}]"
    return f"{name} {'×'.join(map(str, array.shape))}"


# --- Layout: layers from top to bottom ---

SPACING = 12.0  # between two boxes of a layer
TRUNK, BEND, HEAD = 11.0, 17.0, 3.0  # an arrow runs straight down next to its shape, then bends


@dataclass(frozen=True)
class Layout:
    layers: list[list[Box]]
    width: float
    height: float


def lay_out(boxes: list[Box]) -> Layout:
    """Assigns longest-path layers, barycenter order, and columns near the mean of their neighbors."""
    for box in boxes:
        box.layer = max((source.layer + 1 for source in box.sources), default=0)
    for box in reversed(boxes):  # a box without sources is placed just above its first reader
        if not box.sources:
            box.layer = min((target.layer for target in box.targets), default=1) - 1
    layers: list[list[Box]] = [[] for _ in range(max(box.layer for box in boxes) + 1)]
    for box in boxes:
        layers[box.layer].append(box)
    for box in boxes:
        _pass_layers(box, layers)
    for _ in range(4):
        for layer in layers:
            _order(layer, layers, [box.sources for box in layer])
        for layer in reversed(layers):
            _order(layer, layers, [box.targets for box in layer])
    _place(layers)
    return Layout(layers, *_extent(layers))


def _order(layer: list[Box], layers: list[list[Box]], neighbors: list[list[Box]]) -> None:
    """Sorts a layer by the mean position of the neighbors of each box."""
    places = {box: place for row in layers for place, box in enumerate(row)}
    means = {
        box: _mean([places[near] for near in nears], places[box]) for box, nears in zip(layer, neighbors, strict=True)
    }
    layer.sort(key=means.__getitem__)


def _pass_layers(box: Box, layers: list[list[Box]]) -> None:
    """Adds an empty box in each layer that an arrow crosses."""
    for target in list(box.targets):
        source = box
        for layer in range(box.layer + 1, target.layer):
            place = Box(sources=[source], layer=layer)
            layers[layer].append(place)
            source.targets = [place if t is target else t for t in source.targets]
            place.targets = [target]
            target.sources = [place if s is source else s for s in target.sources]
            source = place


def _mean(numbers: Sequence[float], default: float) -> float:
    return sum(numbers) / len(numbers) if numbers else default


def _place(layers: list[list[Box]]) -> None:
    """Places each column as near to the mean of its neighbors as the adjacent columns allow."""
    columns = {box: column for column in _columns(layers) for box in column}
    gaps: dict[tuple[int, int], float] = {}  # (left, right): the minimum distance of two columns
    for layer in layers:
        for left, right in pairwise(layer):
            pair = id(columns[left]), id(columns[right])
            gaps[pair] = max(gaps.get(pair, 0), _apart(left, right))
    by_id = {id(column): column for column in columns.values()}
    ordered = list(TopologicalSorter({c: {a for a, b in gaps if b == c} for c in by_id}).static_order())
    for _ in range(300):
        wanted = {}
        for c, column in by_id.items():
            wanted[c] = _mean([box.x for box in (*dict.fromkeys(column[0].sources), *column[-1].targets)], column[0].x)
        from_left, from_right = dict(wanted), dict(wanted)
        for c in ordered:
            from_left[c] = max([wanted[c], *(from_left[a] + gap for (a, b), gap in gaps.items() if b == c)])
        for c in reversed(ordered):
            from_right[c] = min([wanted[c], *(from_right[b] - gap for (a, b), gap in gaps.items() if a == c)])
        for c, column in by_id.items():
            for box in column:
                box.x = (from_left[c] + from_right[c]) / 2


def _columns(layers: list[list[Box]]) -> Iterator[list[Box]]:
    """Yields chains of boxes without other sources or targets, which are drawn straight below each other."""
    for layer in layers:
        for box in layer:
            if len(set(box.sources)) == 1 and len(box.sources[0].targets) == 1:
                continue  # part of the column above
            column = [box]
            while len(column[-1].targets) == 1 and len(set(column[-1].targets[0].sources)) == 1:
                column.append(column[-1].targets[0])
            yield column


def _apart(left: Box, right: Box) -> float:
    return left.right + SPACING + right.width / 2


def _extent(layers: list[list[Box]]) -> tuple[float, float]:
    """Moves the drawing to the corner and returns its width and height."""
    first = min(box.x - box.width / 2 for layer in layers for box in layer)
    y = 0.0
    for layer in layers:
        for box in layer:
            box.x, box.y = box.x - first, y
        y += max(box.height for box in layer) + TRUNK + BEND
    return max(box.x + box.right for layer in layers for box in layer), y - TRUNK - BEND


# --- Drawing ---

WIDTH = 648.0  # points: 864 pixels in a browser, which is about what GitHub leaves for a page
MARGIN, TITLE, LEGEND = 12.0, 40.0, 26.0


@dataclass(frozen=True)
class Panel:
    title: str
    cost: str
    layout: Layout


def draw(name: str, path: Path) -> None:
    """Draws the picture of a pass.

    Raises:
        ValueError: The two graphs do not fit next to each other.
    """
    result = outcome(name)
    report = result.report
    panels = [
        _panel("before", report.nodes_before, report.macs_before, result.before),
        _panel(f"after {name}", report.nodes_after, report.macs_after, result.after),
    ]
    spare = WIDTH - 2 * MARGIN - sum(panel.layout.width for panel in panels)
    if spare < 2 * MARGIN:
        raise ValueError(f"{name}: the graphs are {2 * MARGIN - spare:.0f} points too wide for a page")
    # Outlines instead of fonts and constant names give the same file on every machine.
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": name, "font.family": FONT}):
        figure = _figure(panels, spare / 2)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
        pyplot.close(figure)


def _panel(title: str, nodes: int, macs: int | None, model: onnx.ModelProto) -> Panel:
    cost = "shapes unknown" if macs is None else f"{amount(macs)} multiply-adds"
    return Panel(title, f"{nodes} nodes, {cost}", lay_out(boxes_of(model)))


def _figure(panels: Sequence[Panel], spare: float) -> Figure:
    """Draws panels side by side, each ``spare`` points wider than its graph."""
    height = max(panel.layout.height for panel in panels) + TITLE + LEGEND + 2 * MARGIN
    figure = pyplot.figure(figsize=(WIDTH / 72, height / 72))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(height, 0))
    axis.set_axis_off()
    left = MARGIN
    for panel in panels:
        if left > MARGIN:
            axis.plot([left, left], [MARGIN, height - LEGEND - MARGIN], color="#CCCCCC", linewidth=0.8)
        width = panel.layout.width
        middle = left + (width + spare) / 2
        axis.text(middle, MARGIN + 5, panel.title, size=10, weight="bold", ha="center", va="center")
        axis.text(middle, MARGIN + 19, panel.cost, size=8, ha="center", va="center")
        _draw_graph(axis, panel.layout, middle - width / 2, MARGIN + TITLE)
        left += width + spare
    kinds = {box.kind for panel in panels for layer in panel.layout.layers for box in layer}
    _draw_legend(axis, [kind for kind in COLORS if kind in kinds], height - MARGIN - 4)
    return figure


def _draw_graph(axis: Axes, layout: Layout, left: float, top: float) -> None:
    for layer in layout.layers:
        bottom = top + layer[0].y + max(box.height for box in layer)
        for box in layer:
            _draw_box(axis, box, left + box.x, top + box.y)
            start = top + box.y + box.height
            if box.targets:
                axis.plot([left + box.x] * 2, [start, bottom + TRUNK], color="#444444", linewidth=0.9, zorder=1)
                position = (left + box.x + 4, start + TRUNK / 2 + 1)
                axis.text(*position, box.shape, size=SHAPE_SIZE, va="center", color="#333333")
            for target in dict.fromkeys(box.targets):
                for port in _ports(box, target):
                    end = (left + target.x + port, top + target.y)
                    _draw_arrow(axis, (left + box.x, bottom + TRUNK), end, head=bool(target.lines))


def _ports(source: Box, target: Box) -> list[float]:
    """Returns the ends of the arrows from ``source`` on the upper side of ``target``; two if it reads a value twice."""
    sources = sorted(target.sources, key=lambda box: box.x)
    apart = min(14, target.width / (len(sources) + 1))
    return [(place - (len(sources) - 1) / 2) * apart for place, box in enumerate(sources) if box is source]


def _draw_arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float], head: bool) -> None:
    (x0, y0), (x1, y1) = start, end
    tip = y1 - (HEAD if head else 0)
    half = (tip - y0) / 2
    curve = Curve([(x0, y0), (x0, y0 + half), (x1, tip - half), (x1, tip)], [Curve.MOVETO, *[Curve.CURVE4] * 3])
    axis.add_patch(PathPatch(curve, fill=False, edgecolor="#444444", linewidth=0.9, zorder=1))
    if head:
        point = Curve([(x1 - 2.4, tip - 1.5), (x1 + 2.4, tip - 1.5), (x1, y1), (x1, y1)], closed=True)
        axis.add_patch(PathPatch(point, facecolor="#444444", linewidth=0, zorder=2))


def _draw_box(axis: Axes, box: Box, x: float, y: float) -> None:
    if not box.lines:
        return
    _draw_frame(axis, box.kind, x - box.width / 2, y, box.width, box.height)
    y += 3.5
    for i, text in enumerate(box.lines):
        size = NAME_SIZE if i == box.bold else LINE_SIZE
        weight = "bold" if i == box.bold else "normal"
        axis.text(x, y + size * 0.65, text, size=size, weight=weight, ha="center", va="center", zorder=4)
        y += size * 1.3


def _draw_frame(axis: Axes, kind: str, x: float, y: float, width: float, height: float) -> None:
    color, ends = COLORS[kind], kind == "input, output"
    tint = "white" if ends else tuple(0.3 * c + 0.7 for c in to_rgb(color))
    style = f"round,pad=0,rounding_size={height / 2 if ends else 2.5}"
    axis.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=tint, edgecolor=color, linewidth=1.2, zorder=3)
    )


def _draw_legend(axis: Axes, kinds: Sequence[str], y: float) -> None:
    widths = [_width(kind, 7) + 14 for kind in kinds]
    x = (WIDTH - sum(widths) - 14 * (len(kinds) - 1)) / 2
    for kind, width in zip(kinds, widths, strict=True):
        _draw_frame(axis, kind, x, y - 4, 9, 8)
        axis.text(x + 13, y, kind, size=7, va="center")
        x += width + 14


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in graph_passes.PASSES:
        draw(name, FOLDER / f"{name}.svg")
        print(FOLDER / f"{name}.svg")


if __name__ == "__main__":
    main()
