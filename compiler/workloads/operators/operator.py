"""What an operator definition consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

Array = np.ndarray
Arrays: TypeAlias = Mapping[str, Array]  # by the name of the tensor
Sizes: TypeAlias = Mapping[str, int]  # by the name of the dimension
Shape: TypeAlias = tuple[int, ...]


class Instance(Protocol):
    """The properties of a :class:`compiler.workloads.workload.Workload` that definitions read."""

    @property
    def dtype(self) -> str: ...

    @property
    def activation(self) -> str | None: ...

    @property
    def sizes(self) -> dict[str, int]: ...


class Kernel(Protocol):
    """A kernel with its weights packed, as ``kernels.Dense`` is one.

    ``time`` returns ``repeat`` samples in seconds per run, each the mean over ``number`` runs. ``schedule`` returns the
    values of the schedule for these sizes, the definition's ``schedule_sizes``; it is empty for a kernel without a
    schedule.
    """

    def __call__(self, *, out: Array, **tensors: Any) -> Array: ...

    def time(self, *, out: Array, number: int, repeat: int, **tensors: Any) -> list[float]: ...

    def schedule(self, *sizes: int) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Notation:
    """How shapes of an operator are written.

    Attributes:
        example: a shape as the command line takes it.
        describe: a short description of the sizes, for tables.
        options: dimensions that are written after the sizes, as ``,name=value``, and only if they differ from the
            default. One number stands for all of them, two (height:width) for each pair.
        defaults: the default of each option.
    """

    example: str
    describe: Callable[[Sizes], str]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LayerSchema:
    """One kind of layer of a compiled model, for which ``compiler/cpp/layers/NAME.cc`` makes a kernel.

    Attributes:
        name: of the kind; the program calls ``loopwright.NAME``.
        attributes: names of its attributes, in addition to those of every layer.
        optional: attributes that descriptions of earlier versions lack, with the values that these mean.
        weights: names of its weights, given the attributes; required ones, then optional ones.
        outputs: shapes of its outputs, given the attributes and the shape of the first output.
        dtypes: data types of its outputs, given the attributes; None: those of all are ``out_dtype``, or float32.
        has_workload: whether what it computes is known, as a workload or as several.
    """

    name: str
    attributes: tuple[str, ...]
    weights: Callable[[Mapping[str, Any]], tuple[tuple[str, ...], tuple[str, ...]]] = lambda _: ((), ())
    outputs: Callable[[Mapping[str, Any], Shape], tuple[Shape, ...]] = lambda _, first: (first,)
    optional: Mapping[str, Any] = field(default_factory=dict)
    dtypes: Callable[[Mapping[str, Any]], tuple[str, ...]] | None = None
    has_workload: bool = True

    def complete(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        """Returns all attributes."""
        return {**self.optional, **attributes}

    def check(self, attributes: Mapping[str, Any], weights: Sequence[str]) -> None:
        """
        Raises:
            ValueError: an attribute or a weight is missing or unknown.
        """
        if not set(self.attributes) <= set(attributes) <= {*self.attributes, *self.optional}:
            given, wanted = ", ".join(sorted(attributes)), ", ".join(sorted([*self.attributes, *self.optional]))
            raise ValueError(f"{self.name} takes the attributes {wanted}; got {given}")
        required, optional = self.weights(attributes)
        if not set(required) <= set(weights) <= {*required, *optional}:
            wanted = ", ".join([*required, *(f"{name} (optional)" for name in optional)]) or "none"
            raise ValueError(f"{self.name} takes the weights {wanted}; got {', '.join(sorted(weights)) or 'none'}")


# Attributes of layers that may have weights of int8: what the integers of x, residual, output and rounded sum stand
# for; without a dtype, the tensor is float32. An x of float32 with a scale is quantized with it, and one without by its
# range.
QUANTIZATION: Mapping[str, Any] = {
    "dtype": "float32",
    "x_is_float": True,
    **{
        f"{tensor}_{name}": None
        for tensor in ("x", "residual", "out", "sum")
        for name in ("dtype", "scale", "zero_point")
    },
}


@dataclass(frozen=True)
class OperatorDef:
    """Everything about one operator that needs neither a graph nor a schedule.

    Attributes:
        name: the operator's name in workloads, records and on the command line.
        dims: names of its dimensions, in the order of a workload's ``dims``.
        inputs: the shape of each tensor that it reads, without those of the epilogue.
        output: the shape of the output; a bias is added along the last axis.
        reference: the answer in float64 to float64 inputs, without the epilogue.
        tolerance: the largest error of a correct float32 kernel for each output element: (workload, float64 inputs,
            algorithm).
        kernel: makes our kernel: (workload, inputs, keyword arguments ``isa``, ``threads``, ``schedule``, and, with a
            space, ``machine``).
        notation: how its shapes are written.
        arguments: names of the inputs that a call of the kernel takes; the kernel has packed the others.
        schedule_sizes: dimensions of x that the kernel's default schedule depends on.
        layers: the kinds of layers of a compiled model that compute it.
        onnx: the ONNX nodes that it computes; ``compiler/lowering/NAME.py`` has the details. A fused layer has the name
            of its first ONNX operator, a function of ``graph_passes`` the prefix ``loopwright::``.
        recognizer: the module of ``compiler.lowering`` for these nodes, if its name differs from the operator's.
        reduction: the number of products that are summed up in each output element.
        flops: floating-point operations of its products; an FMA counts as two. 0 if it only moves data.
        unread: elements of its inputs that no output depends on.
        check: raises ValueError for sizes that are each legal but contradict each other.
        has_epilogue: whether bias, residual and activation may follow.
        dtypes: data types of the kernel.
        tvm_dtypes: data types for which ``compiler.tvm_backend`` has a tensor program.
        space: the module of ``compiler.spaces`` with its schedule space; None if there is nothing to schedule.
        networks: shapes of real networks that are searched by default, with their names.
        weight_bits: bits of an element of the weight, scales included; None: those of the data type.
        cold_weights: whether it is timed with its weights in memory, as in a network whose other layers have evicted
            them, and not in the caches.
        saving: how many times fewer multiplications a fast algorithm needs for a workload than the definition.
        verify_factor: memory that verification takes, as a multiple of the workload's bytes.
        verify_bytes: more memory that verification takes, in bytes.
    """

    name: str
    dims: tuple[str, ...]
    inputs: Callable[[Sizes], dict[str, Shape]]
    output: Callable[[Sizes], Shape]
    reference: Callable[[Sizes, Arrays], Array]
    tolerance: Callable[[Instance, Arrays, str], Array | float]
    kernel: Callable[..., Kernel]
    notation: Notation
    arguments: tuple[str, ...] = ("x",)
    schedule_sizes: tuple[str, ...] = ()
    layers: tuple[LayerSchema, ...] = ()
    onnx: tuple[str, ...] = ()
    recognizer: str | None = None
    reduction: Callable[[Sizes], int] = lambda _: 0
    flops: Callable[[Sizes], int] = lambda _: 0
    unread: Callable[[Sizes], int] = lambda _: 0
    check: Callable[[Sizes], None] = lambda _: None
    has_epilogue: bool = False
    dtypes: tuple[str, ...] = ("float32",)
    tvm_dtypes: tuple[str, ...] = ()
    space: str | None = None
    networks: Mapping[Shape, str] = field(default_factory=dict)
    weight_bits: Callable[[Sizes], float] | None = None
    cold_weights: bool = False
    saving: Callable[[Instance], float] = lambda _: 1.0
    verify_factor: int = 12
    verify_bytes: Callable[[Sizes], int] = lambda _: 0


def at_least(dim: str) -> int:
    """The smallest legal size of a dimension: paddings and flags may be 0."""
    return 0 if dim.startswith("pad_") or dim == "ceil_mode" else 1
