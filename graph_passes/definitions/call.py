"""One call of an operator as its definition sees it, and the function that the definition becomes.

A definition is a function from a :class:`Call` to text: a line ``(inputs) => (outputs)``, then one statement per line
in ONNX's text format. Constants have a short form::

    half = 0.5             a number of the type of the call's first input, or float32 if that is an integer
    axes = [0, -1]         a vector of int64; a plain integer is a scalar
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graph_passes.lazy import ir
from graph_passes.values import constant, data_input, static_shape

OLDEST_OPSET = 11  # the first opset with all operators that definitions may use without a check
_CONSTANT = re.compile(r"^\s*(\w+) = (-?[0-9.]+(?:e[-+]?[0-9]+)?|\[[-0-9, ]*\])\s*$", re.MULTILINE)
_AXES_ARE_INPUTS = {"ReduceSum": 13}  # other reductions: since opset 18


class Undefined(ValueError):
    """The definition does not cover a form of the operator. The message says which one."""


@dataclass(frozen=True)
class Call:
    """A node whose operator is defined by others, in a model of ``opset``.

    Attributes:
        held: constants that the definition reads by these names, in addition to the node's inputs.
        remarks: on the definition, which the pass reports.
    """

    node: ir.Node
    opset: int
    held: dict[str, np.ndarray] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def has(self, index: int) -> bool:
        """Returns whether an input is given."""
        return data_input(self.node, index) is not None

    def wants(self, index: int) -> bool:
        """Returns whether an output is used."""
        if index >= len(self.node.outputs):
            return False
        output = self.node.outputs[index]
        return bool(output.uses()) or output.is_graph_output()

    def dtype(self, index: int = 0) -> ir.DataType:
        """Returns the type of an input.

        Raises:
            Undefined: it is unknown.
        """
        value = data_input(self.node, index)
        if value is None or value.dtype is None:
            raise Undefined(f"the type of its input {index} is unknown")
        return value.dtype

    def rank(self, index: int) -> int:
        """Returns the number of dimensions of an input.

        Raises:
            Undefined: it is unknown.
        """
        value = data_input(self.node, index)
        if value is None or value.shape is None:
            raise Undefined(f"the rank of its input {index} is unknown")
        return len(value.shape)

    def shape(self, index: int) -> tuple[int, ...]:
        """Returns the static shape of an input.

        Raises:
            Undefined: it is unknown.
        """
        shape = static_shape(data_input(self.node, index))
        if shape is None:
            raise Undefined(f"the shape of its input {index} is unknown")
        return shape

    def constant(self, index: int) -> np.ndarray:
        """Returns the elements of a constant input.

        Raises:
            Undefined: it is not constant.
        """
        array = constant(data_input(self.node, index))
        if array is None:
            raise Undefined(f"its input {index} is not constant")
        return array

    def integer(self, name: str, default: int | None = None) -> int:
        """Returns an integer attribute.

        Raises:
            Undefined: it is missing and has no default.
        """
        found = self.node.attributes.get_int(name, default)
        if found is None:
            raise Undefined(f"it has no attribute {name}")
        return found

    def number(self, name: str, default: float) -> float:
        return float(self.node.attributes.get_float(name, default) or 0.0)

    def text(self, name: str, default: str = "") -> str:
        return self.node.attributes.get_string(name, default) or default

    def integers(self, name: str) -> list[int]:
        return list(self.node.attributes.get_ints(name, ()) or ())

    def numbers(self, name: str) -> list[float]:
        return list(self.node.attributes.get_floats(name, ()) or ())

    def require(self, condition: bool, reason: str) -> None:
        """Raises Undefined with ``reason`` unless ``condition`` holds."""
        if not condition:
            raise Undefined(reason)

    def since(self, opset: int, what: str) -> None:
        """Raises Undefined if the model's opset is older than the first one that has ``what``."""
        self.require(self.opset >= opset, f"{what} needs opset {opset}; the model has {self.opset}")

    def reduced(self, op_type: str, x: str, axes: Sequence[int], y: str) -> str:
        """Returns the statements of a reduction that keeps the axes: ``y = op_type (x)``."""
        listed = ", ".join(map(str, axes))
        if self.opset >= _AXES_ARE_INPUTS.get(op_type, 18):
            return f"{y}_axes = [{listed}]\n{y} = {op_type} ({x}, {y}_axes)"
        return f"{y} = {op_type} <axes = [{listed}]> ({x})"

    def copied(self, *names: str) -> str:
        """Returns those of these attributes that the node has, in text such as ``<axis = 1>``; empty if none."""
        given = [(name, self.node.attributes[name].value) for name in names if name in self.node.attributes]
        return f"<{', '.join(f'{name} = {_literal(value)}' for name, value in given)}>" if given else ""


def sliced(x: str, start: int | None, end: int | None, axis: int, y: str, step: int = 1) -> str:
    """Returns the statements of ``y = x[start:end:step]`` along one axis."""
    end = np.iinfo(np.int64).max if end is None else end
    ranges = (("start", start or 0), ("end", end), ("axis", axis), ("step", step))
    lines = [f"{y}_{name} = [{value}]" for name, value in ranges]
    return "\n".join([*lines, f"{y} = Slice ({x}, {y}_start, {y}_end, {y}_axis, {y}_step)"])


def reshaped(x: str, shape: Sequence[int], y: str) -> str:
    """Returns the statements of ``y = Reshape (x, shape)``; a size of 0 is that of ``x``, and -1 the rest."""
    return f"{y}_shape = [{', '.join(map(str, shape))}]\n{y} = Reshape ({x}, {y}_shape)"


def cast(x: str, dtype: ir.DataType | str, y: str) -> str:
    """Returns the statement that converts ``x`` to a type, which may be given by its name."""
    kind = ir.DataType[dtype] if isinstance(dtype, str) else dtype
    return f"{y} = Cast <to = {kind.value}> ({x})"


def function_proto(call: Call, text: str, domain: str, name: str) -> Any:
    """Returns a definition's text as an ONNX function.

    Raises:
        Undefined: the type of the call's first input, and so of constants, is unknown; or an attribute is not a number
            that the text can express, such as NaN.
    """
    import onnx.parser

    head, _, body = text.strip().partition("\n")
    inputs, arrow, outputs = head.partition(") =>")
    head = ", ".join([inputs, *call.held]) + arrow + outputs
    body = _CONSTANT.sub(lambda found: _constant(call, found[1], found[2]), body)
    opsets = f'<opset_import: ["" : {call.opset}], domain: "{domain}">'
    try:
        return onnx.parser.parse_function(f"{opsets} {name} {head} {{ {' '.join(body.split())} }}")
    except onnx.parser.ParseError:
        raise Undefined("its attributes are not valid") from None


def _constant(call: Call, name: str, value: str) -> str:
    if value.startswith("["):
        numbers = [part for part in value.strip("[]").split(",") if part.strip()]
        return f"{name} = Constant <value = int64[{len(numbers)}] {{{', '.join(numbers)}}}> ()"
    if re.fullmatch("-?[0-9]+", value):
        return f"{name} = Constant <value = int64 {{{value}}}> ()"
    dtype = call.dtype()
    if dtype == ir.DataType.DOUBLE:
        return f"{name} = Constant <value = double {{{value}}}> ()"
    single = f"Constant <value = float {{{value}}}> ()"
    if dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
        return f"{name}_single = {single} {cast(f'{name}_single', dtype, name)}"
    return f"{name} = {single}"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        if not re.fullmatch(r"\w*", value):
            raise Undefined(f"its attribute {value!r} is not valid")
        return f'"{value}"'
    if isinstance(value, float):
        return repr(value)
    return f"[{', '.join(map(_literal, value))}]" if isinstance(value, (list, tuple)) else str(value)
