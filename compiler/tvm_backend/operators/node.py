"""What a converter of an ONNX operator sees: the node, its tensors, and how to emit what computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from tvm import relax, te

from compiler.program.tensor_spec import DTYPES

Expr: TypeAlias = Any  # TVM's annotations declare no operators of expressions
Shape: TypeAlias = tuple[int, ...]

_OPAQUE = 8  # TVM's OpPatternKind of functions that are not fused


class Unsupported(ValueError):
    """A form of an operator that cannot be compiled. The message says what is possible instead."""


class Tensor:
    """A tensor of the program.

    Attributes:
        shape, dtype: dtype is named as in NumPy.
        array: the elements, if they are known when the program is compiled.
        repeated: the tensor whose elements this one repeats along some axes, by the rules of broadcasting.
    """

    def __init__(self, shape: Sequence[int], dtype: str, expr: Any = None, array: np.ndarray | None = None) -> None:
        self.shape: Shape = tuple(int(size) for size in shape)
        self.dtype = dtype
        self.array = array
        self.repeated: Tensor | None = None
        self._expr = expr

    @classmethod
    def constant(cls, array: np.ndarray) -> Tensor:
        """Returns a tensor with these elements.

        Raises:
            Unsupported: programs do not support their type.
        """
        if array.dtype.name not in DTYPES:
            raise Unsupported(f"elements of type {array.dtype.name} are not supported")
        return cls(array.shape, array.dtype.name, array=np.ascontiguousarray(array).reshape(array.shape))

    @classmethod
    def of(cls, expr: Any) -> Tensor:
        """Returns the tensor that a Relax expression computes.

        Raises:
            Unsupported: the shape is not constant.
        """
        shape = getattr(expr.ty, "shape", None)
        try:
            return cls([int(size) for size in shape], str(expr.ty.dtype), expr)  # type: ignore[union-attr]
        except TypeError:
            raise Unsupported("the size of its output depends on data") from None

    @property
    def expr(self) -> Any:
        if self._expr is None:
            constant: Any = self.array
            self._expr = relax.const(constant, self.dtype) if self.size else _no_elements(self.shape, self.dtype)
        return self._expr

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def kind(self) -> str:
        """As ``numpy.dtype.kind``: f, i, u or b."""
        return np.dtype(self.dtype).kind

    def is_scalar_constant(self) -> bool:
        return self.array is not None and self.array.size == 1

    def item(self) -> Any:
        """Returns the element of a constant of one element.

        Raises:
            Unsupported: it is not constant.
        """
        if self.array is None:
            raise Unsupported("it must be constant")
        return self.array.item()

    def is_zero(self) -> bool:
        """Whether this is a constant of one element, 0."""
        return self.is_scalar_constant() and not self.item()


class TensorList(tuple[Tensor, ...]):
    """A sequence of ONNX."""


@dataclass(frozen=True)
class Node:
    """A node of an ONNX graph, and the block builder that its converter emits to.

    Attributes:
        op, name: the operator, and the node's name, or its first output's.
        opset: version of the operator set that the model imports.
        inputs: None for an absent one. Trailing inputs may be missing.
        attributes: by name; strings are str.
        outputs: names of the outputs; "" for an absent one.
        declared: the shape that the model states for each output, None if it is not a static one.
    """

    op: str
    name: str
    opset: int
    inputs: tuple[Tensor | TensorList | None, ...]
    attributes: Mapping[str, Any]
    outputs: tuple[str, ...]
    declared: tuple[Shape | None, ...]
    builder: relax.BlockBuilder

    def __str__(self) -> str:
        return f"{self.op} (node {self.name!r})"

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int) -> Tensor:
        """Returns a required input.

        Raises:
            Unsupported: the input is absent.
        """
        tensor = self.optional(index)
        if tensor is None:
            raise Unsupported(f"input {index} is missing")
        return tensor

    def optional(self, index: int) -> Tensor | None:
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(tensor, TensorList):
            raise Unsupported(f"input {index} is a sequence, not a tensor")
        return tensor

    @property
    def x(self) -> Tensor:
        return self.input(0)

    def given(self) -> list[Tensor]:
        """Returns the inputs of a variadic operator."""
        return [self.input(index) for index, tensor in enumerate(self.inputs) if tensor is not None]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Returns an attribute. A default that is a float is rounded to float32, as attributes are."""
        if name in self.attributes:
            return self.attributes[name]
        return float(np.float32(default)) if isinstance(default, float) else default

    def known(self, index: int, what: str) -> np.ndarray | None:
        """Returns the elements of an optional input that must be constant.

        Raises:
            Unsupported: they are not known when the model is compiled.
        """
        tensor = self.optional(index)
        if tensor is None:
            return None
        if tensor.array is None:
            raise Unsupported(f"{what} must be constant")
        return tensor.array

    def ints(self, name: str, index: int | None = None) -> list[int] | None:
        """Returns integers of an attribute, or of an input that replaced it in newer opsets; None if neither is given.

        Raises:
            Unsupported: the input is not constant.
        """
        if name in self.attributes:
            value = self.attributes[name]
            return [int(value)] if isinstance(value, int) else [int(number) for number in value]
        array = self.known(index, name) if index is not None else None
        return None if array is None else [int(number) for number in array.reshape(-1)]

    def axis(self, default: int, rank: int | None = None) -> int:
        """Returns the attribute ``axis``, counted from the front.

        Raises:
            Unsupported: there is no such axis.
        """
        return checked_axis(int(self.attribute("axis", default)), self.x.rank if rank is None else rank)

    def computed(self, function: Callable[..., Any], *tensors: Tensor, fusible: bool = True) -> Any:
        """Emits a tensor expression: ``function`` of one te.Tensor per tensor, which returns one or a list of them.

        Returns a tensor or a list. Tensors without elements are constants: TVM does not schedule empty loops.

        Args:
            fusible: whether TVM may fuse the function with others.
        """
        places = [te.placeholder(tensor.shape, tensor.dtype, name=f"x{i}") for i, tensor in enumerate(tensors)]
        results = function(*places)
        several = isinstance(results, (list, tuple))
        results = list(results) if several else [results]
        types = [(tuple(int(size) for size in result.shape), str(result.dtype)) for result in results]
        if all(0 in shape for shape, _dtype in types):
            empty = [Tensor.constant(np.zeros(shape, dtype)) for shape, dtype in types]
            return empty if several else empty[0]
        prim_func: Any = te.create_prim_func([*places, *results], "int64").without_attr("global_symbol")
        if not fusible:
            prim_func = prim_func.with_attr("op_pattern", _OPAQUE)
        name = self.builder.add_func(prim_func, self.op)
        out = [tensor_type(shape, dtype) for shape, dtype in types]
        arguments: Any = [tensor.expr for tensor in tensors]
        call = relax.call_tir(name, arguments, out if several else out[0])
        written = self.builder.emit(call)
        if not several:
            return Tensor.of(written)
        return [Tensor.of(self.builder.emit(relax.TupleGetItem(written, i))) for i in range(len(types))]

    def emitted(self, expr: Any) -> Tensor:
        """Emits a Relax expression of one tensor."""
        result = Tensor.of(self.builder.normalize(expr))
        if 0 in result.shape:
            return Tensor.constant(np.zeros(result.shape, result.dtype))
        return Tensor.of(self.builder.emit(expr))

    def called(self, function: str, arguments: Sequence[Any], like: Tensor) -> Tensor:
        """Emits a call of a packed function that writes a tensor of the shape and type of ``like``."""
        out = tensor_type(like.shape, like.dtype)
        converted = [argument.expr if isinstance(argument, Tensor) else argument for argument in arguments]
        return Tensor.of(self.builder.emit(relax.call_dps_packed(function, relax.Tuple(converted), out)))


def tensor_type(shape: Sequence[int], dtype: str) -> Any:
    sizes: Any = list(shape)
    return relax.TensorType(sizes, dtype)


def shape_expr(sizes: Sequence[int]) -> Any:
    numbers: Any = list(sizes)
    return relax.ShapeExpr(numbers)


def _no_elements(shape: Shape, dtype: str) -> Any:
    """A tensor without elements. As a constant, it could not be read again from a saved program."""
    return relax.call_dps_packed("loopwright.no_elements", relax.Tuple([]), tensor_type(shape, dtype))


Converter: TypeAlias = Callable[[Node], "Tensor | TensorList | Sequence[Tensor | None]"]


def checked_axis(axis: int, rank: int) -> int:
    """Returns an axis counted from the front.

    Raises:
        Unsupported: there is no such axis.
    """
    if not -rank <= axis < max(rank, 1):
        raise Unsupported(f"there is no axis {axis} in {rank} dimensions")
    return axis + rank if axis < 0 else axis


def checked_axes(axes: Sequence[int], rank: int) -> list[int]:
    """Returns axes counted from the front.

    Raises:
        Unsupported: there is no such axis, or one is named twice.
    """
    found = [checked_axis(axis, rank) for axis in axes]
    if len(set(found)) != len(found):
        raise Unsupported(f"axes {list(axes)} name an axis twice")
    return found
