"""A model becomes a program: graph passes, lowering, schedules."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from compiler.layer import Layer
from compiler.runtime import CompiledModel
from compiler.schedule import Schedule
from compiler.target import Target
from compiler.tensor_spec import TensorSpec
from compiler.workload import Workload

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import torch

Schedules: TypeAlias = "str | os.PathLike[str] | Callable[[Workload, Target], Schedule | None]"


@dataclass(frozen=True)
class _Chosen:
    """Schedules of our kernels among those that are known."""

    known: Callable[[Workload, Target], Schedule | None]
    winograd: bool

    def __call__(self, workload: Workload, target: Target) -> Schedule | None:
        schedule = self.known(workload, target)
        if schedule is None or schedule.backend != "kernel":
            return None
        by_winograd = str(schedule.values.get("algorithm", "")).startswith("winograd")
        return None if by_winograd and not self.winograd else schedule


def build(
    model: str | os.PathLike[str] | onnx.ModelProto | torch.nn.Module,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    target: str | Target = "host",
    schedules: Schedules | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    winograd: bool = True,
    passes: Sequence[Any] | None = None,
) -> CompiledModel:
    """Compiles a model for this CPU.

    Args:
        model: an ONNX file or message, or a PyTorch module, which is exported first.
        input_shapes: sizes for inputs with dynamic dimensions.
        threads: how many run it; None takes every core that this process may use.
        target: ``"host"``, an ISA's name, or a target; a target's number of cores is that of ``threads``.
        schedules: a file of records, or a function from a workload and a target to a schedule or None. Layers that it
            knows nothing of run by their default schedule; ``CompiledModel.untuned`` names them.
        example_inputs: what the PyTorch module is called with while it is exported.
        winograd: whether convolutions may use Winograd's algorithms, which round more than a sum does.
        passes: graph passes by name or as objects; None: the default ones. Layout is not among them: images are laid
            out with channels last in any case.

    Raises:
        ValueError: no valid model, sizes that are missing, an operator that cannot be compiled, an unknown target or
            more threads than cores.
        OSError: a file that cannot be read.
    """
    import graph_passes
    from compiler import kernel_calls
    from compiler.lower import lower

    if isinstance(target, Target):
        host = target if threads is None else Target.from_host(target.isa, threads)
    else:
        host = Target.named(target, threads)
    if example_inputs is not None or _is_torch_module(model):
        from compiler.torch_export import export

        model = export(model, example_inputs)
    chosen = tuple(graph_passes.DEFAULT_PASSES if passes is None else passes)
    optimized = graph_passes.optimize(model, input_shapes, (*chosen, "channels_last")).ir_model
    inputs, outputs = _specs(optimized.graph.inputs), _specs(optimized.graph.outputs)
    with _opened(schedules) as known:
        lowered = lower(optimized, host, kernel_calls.Options(_Chosen(known, winograd), winograd))
    from compiler.tvm_backend.executable import compile_module

    return CompiledModel(compile_module(lowered.module, host), lowered.layers, inputs, outputs, host, lowered.module)


def layers_of(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    target: str = "host",
) -> tuple[Layer, ...]:
    """The layers that :func:`build` would make, without compiling anything.

    Raises:
        ValueError, OSError: as :func:`build`.
    """
    import graph_passes
    from compiler import kernel_calls

    host = Target.named(target, threads)
    optimized = graph_passes.optimize(model, input_shapes, (*graph_passes.DEFAULT_PASSES, "channels_last"))
    _specs(optimized.ir_model.graph.inputs)
    return tuple(kernel_calls.select(optimized.ir_model, host, kernel_calls.Options(_no_schedule)))


def _no_schedule(_workload: Workload, _target: Target) -> Schedule | None:
    return None


@contextlib.contextmanager
def _opened(schedules: Schedules | None) -> Iterator[Callable[[Workload, Target], Schedule | None]]:
    if schedules is None:
        yield _no_schedule
    elif callable(schedules):
        yield schedules
    else:
        from compiler.records import Records

        if not os.path.exists(schedules):
            raise FileNotFoundError(f"there is no file of records {os.fspath(schedules)!r}")
        with Records(schedules) as records:

            def fastest(workload: Workload, target: Target) -> Schedule | None:
                best = records.best(workload, target, backend="kernel")
                return best.schedule if best else None

            yield fastest


def _specs(values: Sequence[ir.Value]) -> list[TensorSpec]:
    from graph_passes.values import static_shape

    specs, dynamic = [], []
    for value in values:
        shape = static_shape(value)
        if shape is None:
            dynamic.append(f"{value.name}: {value.shape if value.shape is not None else 'no rank'}")
        elif value.dtype is not None:
            specs.append(TensorSpec(value.name or "", value.dtype.numpy().name, shape))
    if dynamic:
        raise ValueError(f"sizes are not known: {'; '.join(dynamic)}; give input_shapes for the model's inputs")
    return specs


def _is_torch_module(model: Any) -> bool:
    """Without importing torch: who has a module of its has imported it."""
    return any(kind.__module__.startswith("torch.nn.") for kind in type(model).__mro__)
