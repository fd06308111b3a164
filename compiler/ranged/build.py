"""Builds one program for ranges of input sizes.

The model is lowered at several sizes, which takes a fraction of a second each. What is equal stays, and numbers that
differ become expressions of the sizes (:mod:`compiler.sizes`). Only the program with symbolic sizes is compiled.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.program.operators import Operators
from compiler.program.ranged_model import RangedModel
from compiler.program.sized_tensor import SizedTensor
from compiler.program.tensor_spec import TensorSpec
from compiler.ranged.folded import Folded, check_folded, folded
from compiler.ranged.names import Shape, named_sizes
from compiler.ranged.specs import specs
from compiler.sizes.differing import DifferentPrograms, Undetermined, Witnesses
from compiler.sizes.layer import SizedLayer
from compiler.sizes.size import Size, growing
from compiler.workloads.layer import Layer
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_FOLD = "fold_constants"
_MOST_POINTS = 40  # at which a model is lowered
_MOST_VALUES = 4096  # of a range, from which a point is chosen


def build_ranged(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Shape],
    target: Target,
    passes: Sequence[Any],
    fast_algorithms: bool,
    ieee: bool,
    operators: Operators | None = None,
) -> RangedModel:
    """Compiles a model whose ``input_shapes`` have ranges; see :func:`compiler.build`.

    Raises:
        DifferentPrograms: one program cannot serve all sizes.
        ValueError, OSError, ImportError: as :func:`compiler.build`.
    """
    sizes, shapes = named_sizes(model, input_shapes)
    lowering = _Lowering(model, shapes, target, passes, fast_algorithms, operators)
    witnesses = Witnesses.of(sizes)
    parts = [lowering.at(point) for point in witnesses.points]
    while True:
        try:
            merged = _merged(parts, witnesses)
            break
        except Undetermined as undetermined:
            if len(parts) >= _MOST_POINTS:
                raise witnesses.error("a size that it computes") from None
            witnesses = witnesses.with_point(undetermined.point)
            parts.insert(-1, lowering.at(undetermined.point))
    for point in _further_points(sizes):
        other = lowering.at(point)
        _check_outputs(other, point, merged.outputs)
        check_folded([part.folded for part in parts], witnesses, point, other.folded)
    for point in growing(sizes):
        check_folded([part.folded for part in parts], witnesses, point, lowering.folded_at(point))
    from compiler.tvm_backend.compile import compile_ranged

    try:
        executable = compile_ranged(merged.module, target, sizes)
    except RuntimeError as error:  # TVM has no rule for an expression of sizes
        raise DifferentPrograms(f"with ranges, {error}; give smaller ranges, or numbers") from error
    return RangedModel(
        executable,
        merged.layers,
        merged.inputs,
        merged.outputs,
        sizes,
        target,
        merged.module,
        ieee,
        operators=operators,
    )


def _further_points(sizes: Sequence[Size]) -> Iterator[dict[str, int]]:
    """Yields points that are compared only: the corners, and sizes that many numbers divide, unlike the witnesses."""
    names = [size.name for size in sizes]
    for corner in product(*({size.values[0], size.largest} for size in sizes)):
        yield dict(zip(names, corner, strict=True))
    yield {size.name: max(size.values[-_MOST_VALUES:], key=_small_divisors) for size in sizes}


def _small_divisors(value: int) -> int:
    return sum(value % divisor == 0 for divisor in range(2, 65))


@dataclass(frozen=True)
class _Merged:
    """A model for all sizes; ``module``: the Relax module with symbolic sizes."""

    inputs: Sequence[SizedTensor]
    outputs: Sequence[SizedTensor]
    layers: Sequence[SizedLayer]
    module: Any


def _merged(parts: Sequence[_Part], witnesses: Witnesses) -> _Merged:
    """Merges a model that is lowered at each point.

    Raises:
        DifferentPrograms: one program cannot serve all sizes.
        Undetermined: a further point is needed.
    """
    from compiler.tvm_backend.generalize import generalized

    if len({len(part.layers) for part in parts}) > 1:
        raise witnesses.error("the number of its layers")
    return _Merged(
        _tensors([part.inputs for part in parts], witnesses),
        _tensors([part.outputs for part in parts], witnesses),
        [SizedLayer.merged(same, witnesses) for same in zip(*(part.layers for part in parts), strict=True)],
        generalized([part.separated for part in parts], witnesses),
    )


def _check_outputs(part: _Part, point: Mapping[str, int], outputs: Sequence[SizedTensor]) -> None:
    """Compares the outputs' shapes at a point with those of the model.

    Raises:
        DifferentPrograms: they differ.
    """
    found, expected = part.outputs, tuple(output.at(point) for output in outputs)
    for own, other in zip(found, expected, strict=True):
        if own != other:
            listed = ", ".join(f"{name} {value}" for name, value in point.items())
            raise DifferentPrograms(
                f"at {listed} there is an output {own} instead of {other}; give smaller ranges, or numbers"
            )


@dataclass(frozen=True)
class _Part:
    """A model lowered at some sizes.

    Attributes:
        separated: the Relax module without its constants, and these.
        folded: shapes and small constants in the ONNX model, before it is optimized further.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: tuple[Layer, ...]
    separated: Any
    folded: Folded


@dataclass
class _Lowering:
    """Lowers a model at given sizes. Equal constants and weights of all sizes are one array."""

    model: Any
    shapes: Mapping[str, tuple[int | str, ...]]
    target: Target
    passes: Sequence[Any]
    fast_algorithms: bool
    operators: Operators | None
    arrays: dict[Any, np.ndarray] = field(default_factory=dict)

    def at(self, point: Mapping[str, int]) -> _Part:
        from compiler.lowering.choose import Options
        from compiler.lowering.lower import lower
        from compiler.tvm_backend.generalize import without_constants
        from compiler.tvm_backend.importer import import_within

        optimized, found = self._optimized(point)
        how = Options(fast_algorithms=self.fast_algorithms, chains=False, operators=self.operators)
        lowered = lower(optimized, self.target, how)
        imported = import_within(lowered.model, lowered.layers)
        if imported.rejected:
            reasons = "; ".join(dict.fromkeys(filter(None, imported.rejected.values())))
            raise ValueError(f"{reasons}; programs for ranges of sizes have no segments of ONNX Runtime")
        module, constants = without_constants(imported.module)
        layers = tuple(
            replace(layer, weights={name: self._shared(w) for name, w in layer.weights.items()})
            for layer in lowered.layers
        )
        inputs = tuple(specs(optimized.graph.inputs))
        return _Part(inputs, imported.outputs, layers, (module, [self._shared(array) for array in constants]), found)

    def folded_at(self, point: Mapping[str, int]) -> Folded:
        """Returns what the model computes from sizes alone, without the passes that do not matter for it."""
        import graph_passes

        names = [a_pass.name for a_pass in map(graph_passes.named, self.passes)]
        last = names.index(_FOLD) if _FOLD in names else len(names) - 1
        return folded(graph_passes.optimize(self.model, self._shapes(point), self.passes[: last + 1]).ir_model)

    def _shapes(self, point: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(point[dim] if isinstance(dim, str) else dim for dim in shape)
            for name, shape in self.shapes.items()
        }

    def _optimized(self, point: Mapping[str, int]) -> tuple[ir.Model, Folded]:
        import graph_passes
        from graph_passes.lazy import ir

        found: dict[str, Any] = {}

        def after_pass(_place: int, a_pass: graph_passes.Pass, rewritten: ir.Model) -> None:
            if a_pass.name == _FOLD and not found:
                found.update(folded(rewritten))

        optimized = graph_passes.optimize(self.model, self._shapes(point), self.passes, after_pass).ir_model
        ir.external_data.load_to_model(optimized)  # the importer does not read files
        return optimized, found

    def _shared(self, array: np.ndarray) -> np.ndarray:
        digest = hashlib.blake2b(np.ascontiguousarray(array).data).digest()
        return self.arrays.setdefault((array.dtype.name, array.shape, digest), array)


def _tensors(tensors: Sequence[Sequence[TensorSpec]], witnesses: Witnesses) -> list[SizedTensor]:
    """Merges the inputs or outputs at each point.

    Raises:
        DifferentPrograms: they differ in more than sizes.
    """
    merged = []
    for same in zip(*tensors, strict=True):
        fields = witnesses.merged([spec.to_json() for spec in same], f"the tensor {same[0].name}")
        merged.append(SizedTensor(fields["name"], fields["dtype"], tuple(fields["shape"])))
    return merged
