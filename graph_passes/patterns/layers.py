"""Fused layers: calls of model-local functions in the domain ``loopwright``.

A layer is ``activation(op(x, w) + b + r)``, where op is a convolution or a product. Its function is named after its
parts, such as ``Conv_bias_residual_relu``. The inputs are x and w, then b, the slope of a PRelu and r if the layer has
them. The attributes are those of the operator, and those of the activation with the prefix ``activation_``. The body
defines the layer in standard operators, so any runtime can run it; a backend with a kernel for the layer needs the name
only. The suffix ``_nhwc`` means that x, r and the output have their channels last; weights keep ONNX's layout.

In layers of 8-bit integers, w is of int8, and the input after it, w_scale, has a scale for each output channel. The x
of a DynamicMatMul is float32, and rounded to integers by its range. In others, x consists of integers with the inputs
x_scale and x_zero. So may r and the output, which the suffixes ``_r8`` and ``_y8`` say. The sum with the bias may be
rounded to integers, and become float32 again, before the residual (``_s8``). The scales and zero points are the last
inputs.

The w of a BlockMatMul, (columns, blocks, numbers) of uint8, consists of numbers of few bits, and w_scale and w_zero,
(columns, blocks, 1), are those of blocks. The attribute "rows" is the length of a row without its padding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from graph_passes.base import DOMAIN
from graph_passes.lazy import ir
from graph_passes.patterns.activations import ACTIVATIONS

_CONV = ("strides: ints", "pads: ints", "dilations: ints", "group: int")
_CONV_TRANSPOSE = (*_CONV, "output_padding: ints")
_GEMM = ("alpha: float", "beta: float", "transA: int", "transB: int")
# The operators of layers and their attributes. A call sets all of them.
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "Conv": _CONV,
    "ConvTranspose": _CONV_TRANSPOSE,
    "Gemm": _GEMM,
    "MatMul": (),
    "DynamicMatMul": (),
    "QuantizedMatMul": (),
    "QuantizedConv": _CONV,
    "BlockMatMul": ("bits: int", "rows: ints"),
}
CONVOLUTIONS = ("Conv", "ConvTranspose", "QuantizedConv")
PRODUCTS = ("MatMul", "DynamicMatMul", "QuantizedMatMul", "BlockMatMul")  # those whose bias is an Add
_OF_INTEGERS = ("DynamicMatMul", "QuantizedMatMul", "QuantizedConv")
# Operators that ONNX does not have: their inputs after x and w, and the statements of their bodies before the last one.
_QUANTIZED = ("w_scale", "x_scale", "x_zero")
_OPERANDS: Mapping[str, tuple[str, ...]] = {
    "DynamicMatMul": ("w_scale",),
    "QuantizedMatMul": _QUANTIZED,
    "QuantizedConv": _QUANTIZED,
    "BlockMatMul": ("w_scale", "w_zero"),
}
_ROUNDED = ("QuantizeLinear ({}, s_scale, s_zero)", "DequantizeLinear ({}, s_scale, s_zero)")
_REAL_X = "x_real = DequantizeLinear (x, x_scale, x_zero)"
_STATEMENTS: Mapping[str, tuple[str, ...]] = {
    "DynamicMatMul": (
        "x_whole, x_scale, x_zero = DynamicQuantizeLinear (x)",
        "products = MatMulInteger (x_whole, w, x_zero)",
        "numbers = Cast <to: int = 1> (products)",
        "scales = Mul (x_scale, w_scale)",
    ),
    "QuantizedMatMul": (_REAL_X, "w_real = DequantizeLinear <axis: int = 1> (w, w_scale)"),
    "QuantizedConv": (_REAL_X, "w_real = DequantizeLinear <axis: int = 0> (w, w_scale)"),
    "BlockMatMul": (
        "numbers = Cast <to: int = 1> (w)",
        "zeros = Cast <to: int = 1> (w_zero)",
        "centered = Sub (numbers, zeros)",
        "scaled = Mul (centered, w_scale)",
        "flat = Constant <value_ints = [0, -1]> ()",
        "padded = Reshape (scaled, flat)",
        "start = Constant <value_ints = [0]> ()",
        "end = Constant <value_ints: ints = @rows> ()",
        "axis = Constant <value_ints = [1]> ()",
        "values = Slice (padded, start, end, axis)",
        "w_real = Transpose <perm = [1, 0]> (values)",
    ),
}
# The operator of the last statement, and its operands without a bias.
_LAST: Mapping[str, tuple[str, str]] = {
    "DynamicMatMul": ("Mul", "numbers, scales"),
    "QuantizedMatMul": ("MatMul", "x_real, w_real"),
    "QuantizedConv": ("Conv", "x_real, w_real"),
    "BlockMatMul": ("MatMul", "x, w_real"),
}
_HAS_BIAS_INPUT = (*CONVOLUTIONS, "Gemm")


@dataclass(frozen=True)
class FusedLayer:
    """The kind of a fused layer: its operator and the parts that follow it.

    Attributes:
        integer_residual, integer_output: whether these consist of 8-bit integers.
        rounded_sum: whether the sum with the bias is rounded to 8-bit integers before the residual.
    """

    op: str
    bias: bool = False
    residual: bool = False
    activation: str | None = None
    integer_residual: bool = False
    integer_output: bool = False
    rounded_sum: bool = False
    channels_last: bool = False

    @property
    def name(self) -> str:
        flags = {
            "bias": self.bias,
            "residual": self.residual,
            self.activation: self.activation,
            "r8": self.integer_residual,
            "y8": self.integer_output,
            "s8": self.rounded_sum,
            "nhwc": self.channels_last,
        }
        return "_".join([self.op, *(part for part, there in flags.items() if part and there)])

    @classmethod
    def named(cls, name: str) -> FusedLayer | None:
        """Returns the layer with this function name; None if the name does not denote a layer."""
        activations = "|".join(ACTIVATIONS)
        found = re.fullmatch(
            rf"({'|'.join(OPERATORS)})(_bias)?(_residual)?(?:_({activations}))?(_r8)?(_y8)?(_s8)?(_nhwc)?",
            name,
            re.ASCII,
        )
        if found is None:
            return None
        op, bias, residual, activation, *others = found.groups()
        layer = cls(op, bool(bias), bool(residual), activation, *map(bool, others))
        of_integers = layer.integer_residual or layer.integer_output or layer.rounded_sum
        return None if of_integers and not layer.has_integer_input else layer

    @classmethod
    def of(cls, node: ir.Node | None) -> FusedLayer | None:
        """Returns the layer of a node, a call of a layer function or a plain operator; None for any other node."""
        if node is None:
            return None
        if node.domain == DOMAIN:
            return cls.named(node.op_type)
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS or node.op_type in _STATEMENTS:
            return None
        return cls(node.op_type, bias=len(node.inputs) > 2 and node.inputs[2] is not None)

    def following(self, part: str) -> FusedLayer | None:
        """Returns this layer with one more part, "bias", "residual" or an activation; None if it cannot follow."""
        if (
            self.activation
            or self.integer_output
            or (part in ("bias", "residual") and self.residual)
            or (part == "bias" and self.bias)
        ):
            return None
        if part in ("bias", "residual"):
            return replace(self, **{part: True})
        return replace(self, activation=part)

    @property
    def inputs(self) -> list[str]:
        operand = ACTIVATIONS[self.activation].operand if self.activation else None
        return [
            "x",
            "w",
            *_OPERANDS.get(self.op, ()),
            *(["b"] if self.bias else []),
            *([operand] if operand else []),
            *(["r"] if self.residual else []),
            *(["r_scale", "r_zero"] if self.integer_residual else []),
            *(["y_scale", "y_zero"] if self.integer_output else []),
            *(["s_scale", "s_zero"] if self.rounded_sum else []),
        ]

    def operands(self, node: ir.Node) -> dict[str, ir.Value | None]:
        """Returns the inputs of a node of this layer by name."""
        return dict(zip(self.inputs, node.inputs, strict=True))

    @property
    def of_integers(self) -> bool:
        return self.op in _OF_INTEGERS

    @property
    def has_integer_input(self) -> bool:
        """Whether x consists of 8-bit integers, with the inputs x_scale and x_zero."""
        return "x_scale" in _OPERANDS.get(self.op, ())

    @property
    def activation_attributes(self) -> list[str]:
        """Names of the activation's attributes in a call. The prefix is needed since Gemm also has an alpha."""
        return [f"activation_{name}" for name in ACTIVATIONS[self.activation].attributes] if self.activation else []

    def function(self, opset: int) -> ir.Function:
        """Returns the function, with a body in standard operators of ``opset``."""
        declared = [*operator_attributes(self.op), *self.activation_attributes]
        return function(self.name, declared, self.inputs, self.body(), opset)

    def body(self) -> list[str]:
        """Returns the statements that compute ``y``, in ONNX's text format."""
        declared = () if self.op in _STATEMENTS and self.op not in CONVOLUTIONS else OPERATORS[self.op]
        given = ", ".join(f"{attribute} = @{attribute.partition(':')[0]}" for attribute in declared)
        name, operands = _LAST.get(self.op, (self.op, "x, w"))
        operator = f"{name} <{given}>" if given else name
        takes_bias = self.bias and self.op in _HAS_BIAS_INPUT
        first = [*_STATEMENTS.get(self.op, ()), f"y0 = {operator} ({operands}{', b' if takes_bias else ''})"]
        steps = ["Add ({}, b)"] if self.bias and not takes_bias else []
        real_residual = ["r_real = DequantizeLinear (r, r_scale, r_zero)"] if self.integer_residual else []
        steps += _ROUNDED if self.rounded_sum else []
        steps += [f"Add ({{}}, {'r_real' if self.integer_residual else 'r'})"] if self.residual else []
        lines = [*real_residual, *first, *(f"y{i} = {step.format(f'y{i - 1}')}" for i, step in enumerate(steps, 1))]
        last = f"y{len(steps)}"
        if self.activation is None:
            lines[-1] = lines[-1].replace(f"{last} =", "y =")
        else:
            body = ACTIVATIONS[self.activation].body.replace("@", "@activation_")
            lines.append(re.sub(r"\bx\b", last, body))
        if self.integer_output:
            lines = [re.sub(r"\by\b", "y_real", line) for line in lines]
            lines.append("y = QuantizeLinear (y_real, y_scale, y_zero)")
        return in_channels_last(lines, ["x", *(["r"] if self.residual else [])]) if self.channels_last else lines


def operator_attributes(op: str) -> list[str]:
    """Returns the names of the operator's attributes, all of which a call sets."""
    return [attribute.partition(":")[0] for attribute in OPERATORS[op]]


def in_channels_last(lines: list[str], images: list[str]) -> list[str]:
    """Wraps statements in transposes: ``images`` and the output have channels last (four dimensions)."""
    lines = [re.sub(rf"\b({'|'.join([*images, 'y'])})\b", r"\1_nchw", line) for line in lines]
    before = [f"{image}_nchw = Transpose <perm: ints = [0, 3, 1, 2]> ({image})" for image in images]
    return [*before, *lines, "y = Transpose <perm: ints = [0, 2, 3, 1]> (y_nchw)"]


def function(name: str, attributes: list[str], inputs: list[str], body: list[str], opset: int) -> ir.Function:
    """Creates a function of the domain ``loopwright`` with one output, ``y``; ``body`` is in ONNX's text format."""
    import onnx.parser

    head = f'<opset_import: ["" : {opset}], domain: "{DOMAIN}"> {name} '
    head += f"<{', '.join(attributes)}> " if attributes else ""
    text = head + f"({', '.join(inputs)}) => (y) {{ " + " ".join(body) + " }"
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))


def call(model: ir.Model, layer: FusedLayer, inputs: list[ir.Value | None], attributes: list[ir.Attr]) -> ir.Node:
    """Creates a call of the layer's function and adds the function to the model."""
    return call_function(model, layer.function(model.opset_imports[""]), inputs, attributes)


def call_function(
    model: ir.Model, callee: ir.Function, inputs: list[ir.Value | None], attributes: list[ir.Attr]
) -> ir.Node:
    """Creates a call of ``callee`` and adds ``callee`` to the model."""
    model.functions.setdefault(callee.identifier(), callee)
    model.opset_imports.setdefault(DOMAIN, 1)
    model.ir_version = max(model.ir_version or 0, 8)  # the first version with functions
    return ir.Node(DOMAIN, callee.name, inputs, attributes)
