"""Models under construction: a node whose inputs and attributes a strategy of ``operators`` draws from its schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from tests.compiler.differential.values import ANY, DTYPES, ORDERED, random_array

Drawn = TypeVar("Drawn")
Draw = Callable[..., Any]
_SHARE = st.integers(0, 99)
_SEEDS = st.integers(0, 2**32 - 1)
# float32 is what models have; the others must be right, too.
_COMMON = np.dtype("float32")


@dataclass(frozen=True)
class Value:
    """A tensor of the model. ``array`` is its content, None for the output of a node."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    array: np.ndarray | None = None

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass
class ModelDraft:
    """The model: its inputs, constants and nodes.

    Attributes:
        draw: hypothesis' function that draws from a strategy.
        opset: the version of the operator set.
        pool: in random graphs, the outputs that later nodes may read; None if each node has new inputs.
        dynamic: percentage of parameters that are inputs of the model instead of constants.
    """

    draw: Draw
    opset: int
    pool: list[Value] | None = None
    dynamic: int = 0
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    count: int = 0

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def add(self, array: np.ndarray, constant: bool) -> Value:
        name = self.name("c" if constant else "x")
        (self.constants if constant else self.inputs)[name] = array
        return Value(name, array.dtype, array.shape, array)


class NodeDraft:
    """One node. A strategy adds its inputs in order, then its attributes.

    Attributes:
        version: the opset in which the operator got its present form.
        undefined: the standard defines no answer; the compiled model may return anything or raise, but not crash.
        illegal: the inputs break a rule of the standard, so that the compiled model must raise.
    """

    def __init__(self, model: ModelDraft, schema: onnx.defs.OpSchema) -> None:
        self.model, self.schema, self.draw = model, schema, model.draw
        self.version = schema.since_version
        self.inputs: list[str] = []
        self.values: list[Value | None] = []
        self.attributes: dict[str, Any] = {}
        self.bound: dict[str, np.dtype] = {}
        self.num_outputs = max(schema.min_output, 1)
        self.skipped_outputs: set[int] = set()
        self.undefined = self.illegal = False

    # Choices

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def integers(self, count: int, low: int, high: int) -> list[int]:
        return [self.integer(low, high) for _ in range(count)]

    def choice(self, *options: Drawn) -> Drawn:
        return self.draw(st.sampled_from(options))

    def chance(self, percent: int) -> bool:
        return self.draw(_SHARE) >= 100 - percent

    def subset(self, items: Sequence[int], least: int = 0) -> list[int]:
        """Returns some of the items, in any order."""
        order = self.draw(st.permutations(list(items)))
        return order[: self.integer(min(least, len(order)), len(order))]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.draw(_SEEDS))

    def axis(self, rank: int, low: int = 0) -> int:
        """Returns an axis of at least ``low``, also as a negative number where the version allows it."""
        axis = self.integer(low, rank - 1)
        return axis - rank if self.negative_axes and self.chance(40) else axis

    @property
    def negative_axes(self) -> bool:
        return self.version >= 11 or (self.schema.name in {"Softmax", "LogSoftmax", "Hardmax"} and self.version >= 11)

    def shape(self, rank: tuple[int, int] = (0, 5), least: int = 0, most: int = 5, elements: int = 400) -> list[int]:
        """Returns a shape; sizes of zero are rare, and only drawn if ``least`` is zero."""
        count = self.integer(*rank)
        sizes = self.integers(count, max(least, 1), most)
        if least == 0 and count and self.chance(6):
            sizes[self.integer(0, count - 1)] = 0
        while math.prod(sizes) > elements:
            largest = sizes.index(max(sizes))
            sizes[largest] = max(sizes[largest] // 2, 1, least)
            if sizes[largest] == least and math.prod(sizes) > elements:
                break
        return sizes

    # Types

    def allowed(self, index: int) -> list[np.dtype]:
        """Returns the types that the schema allows for an input, of those that ``values`` has."""
        kind = self._formal(index).type_str
        names = [kind] if "(" in kind else self._constraint(kind)
        return [DTYPES[name] for name in sorted(names) if name in DTYPES]

    def dtype(self, index: int, among: str = "") -> np.dtype:
        """Returns the type of an input; drawn, unless an earlier input has the same type variable.

        ``among`` restricts it to kinds of NumPy types, such as "f" or "iu".
        """
        kind = self._formal(index).type_str
        if kind not in self.bound:
            options = [dtype for dtype in self.allowed(index) if not among or dtype.kind in among]
            if _COMMON in options and self.chance(35 if self.model.pool is None else 80):
                options = [_COMMON]
            self.bound[kind] = self.choice(*options)
        return self.bound[kind]

    def bind(self, index: int, dtype: np.dtype) -> None:
        """Sets the type of an input, if the schema allows it and no other is drawn."""
        if dtype in self.allowed(index):
            self.bound.setdefault(self._formal(index).type_str, dtype)

    def _formal(self, index: int) -> Any:
        return self.schema.inputs[min(index, len(self.schema.inputs) - 1)]

    def _constraint(self, variable: str) -> Sequence[str]:
        return next(c.allowed_type_strs for c in self.schema.type_constraints if c.type_param_str == variable)

    # Inputs

    def data(
        self,
        rank: tuple[int, int] = (0, 5),
        kind: str = ANY,
        least: int = 0,
        most: int = 5,
        shape: Sequence[int] | None = None,
        among: str = "",
    ) -> Value:
        """Adds the tensor that the node works on: an input of the model, or an earlier output in random graphs.

        Only an input can have a given ``shape`` or kind of values.
        """
        index = len(self.inputs)
        if self.model.pool is not None and shape is None:
            fitting = [value for value in self.model.pool if self._fits(value, index, rank, least, most, among)]
            if fitting and self.chance(90):
                value = fitting[-1 - min(self.integer(0, 3), len(fitting) - 1)]
                self.bound[self._formal(index).type_str] = value.dtype
                return self._append(value)
        dtype = self.dtype(index, among)
        sizes = self.shape(rank, least, most) if shape is None else shape
        value = self.model.add(random_array(self.rng(), dtype, sizes, kind), constant=False)
        return self._append(value)

    def _fits(self, value: Value, index: int, rank: tuple[int, int], least: int, most: int, among: str) -> bool:
        kind = self._formal(index).type_str
        types = [self.bound[kind]] if kind in self.bound else self.allowed(index)
        return (
            value.dtype in types
            and (not among or value.dtype.kind in among)
            and rank[0] <= value.rank <= rank[1]
            and all(least <= size <= max(most, 12) for size in value.shape)
        )

    def operand(self, shape: Sequence[int], kind: str = ANY, among: str = "") -> Value:
        """Adds a tensor of a given shape: a second operand, or weights."""
        index = len(self.inputs)
        dtype = self.dtype(index, among)
        if self.model.pool is not None and kind in (ANY, ORDERED, "finite"):
            same = [v for v in self.model.pool if v.dtype == dtype and v.shape == tuple(shape)]
            if same and self.chance(70):
                return self._append(same[-1])
        return self.given(random_array(self.rng(), dtype, shape, kind))

    def given(self, array: Any, dynamic: int | None = None) -> Value:
        """Adds a parameter, constant or an input of the model. ``dynamic`` is the percentage of inputs."""
        share = self.model.dynamic if dynamic is None else dynamic
        return self._append(self.model.add(np.asarray(array), constant=not self.chance(share)))

    def absent(self) -> None:
        """Adds an optional input that is not given."""
        self.inputs.append("")
        self.values.append(None)

    def _append(self, value: Value) -> Value:
        self.inputs.append(value.name)
        self.values.append(value)
        return value

    # Attributes

    def has(self, name: str) -> bool:
        return name in self.schema.attributes

    def set(self, name: str, value: Any) -> None:
        """Sets an attribute, if this version has it."""
        if self.has(name):
            self.attributes[name] = value

    def maybe(self, name: str, *options: Any, percent: int = 60) -> Any:
        """Sets an attribute to one of the options, or leaves it out. Returns its value, None if it is absent."""
        if not self.has(name) or not self.chance(percent):
            return None
        self.attributes[name] = self.choice(*options)
        return self.attributes[name]

    def node(self) -> onnx.NodeProto:
        """Returns the node, with names for its outputs. Absent inputs at the end may be left out."""
        while self.inputs and not self.inputs[-1] and (self.chance(80) or len(self.inputs) > self.schema.max_input):
            self.inputs.pop()
        outputs = ["" if index in self.skipped_outputs else self.model.name("y") for index in range(self.num_outputs)]
        attributes = {
            name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for name, value in self.attributes.items()
        }
        made = helper.make_node(self.schema.name, self.inputs, outputs, name=self.model.name("n"))
        for name, value in attributes.items():
            kind: Any = self.schema.attributes[name].type
            made.attribute.append(helper.make_attribute(name, value, attr_type=int(kind.value)))
        return made
