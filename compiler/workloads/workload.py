"""A workload: one operator on one shape, without a schedule. It is the key of the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from compiler.workloads import activations
from compiler.workloads.operators import OPERATORS, OperatorDef, pooling
from compiler.workloads.operators.operator import Shape, at_least

DTYPE_BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
FLOAT_BYTES = 4  # of constants of the epilogue, which are float32 for every dtype, and of all but the weight of int8
CONSTANTS = ("bias", "slopes")
ACTIVATIONS = (*activations.ACTIVATIONS, activations.PRELU)

Pair: TypeAlias = "int | tuple[int, int]"  # (height, width), or one number for both


@dataclass(frozen=True)
class Workload:
    """One operator on one shape.

    Attributes:
        op: a key of ``compiler.workloads.operators.OPERATORS``, whose file describes the tensors.
        dims: sizes, in the order of ``OPERATORS[op].dims``.
        dtype: element type of inputs, weights, residual and output; a bias and
            slopes are float32. ``"int8"`` is that of the weight alone: the input is quantized to 8 bits by its range,
            and everything else is float32.
        epilogue: the steps after the sum, in order: ``"bias"``, ``"residual"``, then at most one of ``ACTIVATIONS``.
    """

    op: str
    dims: tuple[int, ...]
    dtype: str = "float32"
    epilogue: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise ValueError(f"unknown op {self.op!r}; choose from: {', '.join(OPERATORS)}")
        if self.dtype not in DTYPE_BYTES:
            raise ValueError(f"unknown dtype {self.dtype!r} for {self.op}; choose from: {', '.join(DTYPE_BYTES)}")
        names = self.operator.dims
        if len(self.dims) != len(names) or not all(map(_is_size, names, self.dims)):
            bounds = "sizes >= 1" if all(map(at_least, names)) else "sizes >= 1, paddings >= 0"
            raise ValueError(f"{self.op} takes {len(names)} {bounds} ({'x'.join(names)}), got {self.dims}")
        self.operator.check(self.sizes)
        if self.epilogue and not self.operator.has_epilogue:
            raise ValueError(f"{self.op} takes no epilogue, got {self.epilogue}")
        order = [
            *(e for e in ("bias", "residual") if e in self.epilogue),
            *(e for e in self.epilogue if e in ACTIVATIONS),
        ]
        if list(self.epilogue) != order or sum(e in ACTIVATIONS for e in order) > 1:
            raise ValueError(
                f"epilogue {self.epilogue} is not bias, residual, one of {', '.join(ACTIVATIONS)}, in this order"
            )

    @classmethod
    def dense(cls, m: int, n: int, k: int, dtype: str = "float32", epilogue: tuple[str, ...] = ()) -> Workload:
        return cls("dense", (m, n, k), dtype, epilogue)

    @classmethod
    def conv2d(
        cls,
        n: int,
        h: int,
        w: int,
        c: int,
        o: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Pair | tuple[int, int, int, int] = 0,
        dilation: Pair = 1,
        groups: int = 1,
        dtype: str = "float32",
        epilogue: tuple[str, ...] = (),
    ) -> Workload:
        """``padding`` is one number for all sides, (height, width), or (top, left, bottom, right)."""
        pads = padding if isinstance(padding, tuple) and len(padding) == 4 else _pair(padding) * 2
        dims = (n, h, w, c, o, *_pair(kernel), *_pair(stride), *pads, *_pair(dilation), groups)
        return cls("conv2d", dims, dtype, epilogue)

    @classmethod
    def attention(
        cls, batch: int, heads: int, queries: int, keys: int, head_dim: int, dtype: str = "float32"
    ) -> Workload:
        return cls("attention", (batch, heads, queries, keys, head_dim), dtype)

    @classmethod
    def max_pool2d(cls, x: Shape, kernel: Pair, stride: int = 1, padding: int = 0) -> Workload:
        """Without dilation and ``ceil_mode``, over images of shape ``x`` (n, h, w, c)."""
        return cls("max_pool2d", pooling.dims(x, _pair(kernel), stride, padding))

    @classmethod
    def avg_pool2d(cls, x: Shape, kernel: Pair, stride: int = 1, padding: int = 0) -> Workload:
        """As :meth:`max_pool2d`. With a kernel as large as the image it is global pooling."""
        return cls("avg_pool2d", pooling.dims(x, _pair(kernel), stride, padding))

    @property
    def operator(self) -> OperatorDef:
        return OPERATORS[self.op]

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes by the names of the dimensions."""
        return dict(zip(self.operator.dims, self.dims, strict=True))

    @property
    def activation(self) -> str | None:
        return next((e for e in self.epilogue if e in ACTIVATIONS), None)

    @property
    def output_shape(self) -> Shape:
        return self.operator.output(self.sizes)

    @property
    def input_shapes(self) -> dict[str, Shape]:
        """Shapes of the tensors that are read, by name; those of the epilogue come last."""
        shapes = dict(self.operator.inputs(self.sizes))
        if "bias" in self.epilogue:
            shapes["bias"] = self.output_shape[-1:]
        if "residual" in self.epilogue:
            shapes["residual"] = self.output_shape
        if activations.PRELU in self.epilogue:
            shapes["slopes"] = self.output_shape[-1:]
        return shapes

    @property
    def reduction(self) -> int:
        """The number of products that are summed up in each output element; 0 for an operator without products."""
        return self.operator.reduction(self.sizes)

    @property
    def flops(self) -> int:
        """Floating-point operations of the products; an FMA counts as two. Epilogues and exponentials count as none.

        A convolution's products with padding count. The count is that of the definition, also for algorithms that need
        fewer operations.
        """
        return self.operator.flops(self.sizes)

    @property
    def bytes(self) -> int:
        """Bytes that must be moved at least once: the parts of inputs and weights that are read, and the output."""
        elements = prod(self.output_shape) - self.operator.unread(self.sizes)
        return elements * self._element_bytes("y") + sum(map(self._input_bytes, self.input_shapes))

    @property
    def weight_bytes(self) -> int:
        """The part of ``bytes`` that the kernel packs in advance: weights and bias, but not per-call arguments.

        It is 0 for operators that take all tensors with each call, such as attention and normalizations.
        """
        per_call = (*self.operator.arguments, "residual")
        return sum(self._input_bytes(name) for name in self.input_shapes if name not in per_call)

    def _input_bytes(self, name: str) -> int:
        elements, bits = prod(self.input_shapes[name]), self.operator.weight_bits
        if name == "weight" and bits is not None:
            return round(elements * bits(self.sizes) / 8)
        return elements * self._element_bytes(name)

    def _element_bytes(self, name: str) -> int:
        is_float = name in CONSTANTS or (self.dtype == "int8" and name != "weight")
        return FLOAT_BYTES if is_float else DTYPE_BYTES[self.dtype]

    def to_json(self) -> dict[str, Any]:
        return {"op": self.op, "dims": list(self.dims), "dtype": self.dtype, "epilogue": list(self.epilogue)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Workload:
        return cls(fields["op"], tuple(fields["dims"]), fields["dtype"], tuple(fields["epilogue"]))

    def __str__(self) -> str:
        shape = "x".join(map(str, self.dims))
        return " ".join([self.op, shape, self.dtype, *self.epilogue])


def _is_size(name: str, size: Any) -> bool:
    return type(size) is int and size >= at_least(name)


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
