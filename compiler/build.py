"""Builds compiled models: graph passes, lowering, code generation."""

from __future__ import annotations

import ctypes
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from compiler.convert import source
from compiler.installation import extras
from compiler.lowering.schedule_source import Schedules, opened
from compiler.program.compiled_model import CompiledModel
from compiler.program.operators import Operators
from compiler.program.random_inputs import random_inputs
from compiler.program.ranged_model import RangedModel
from compiler.ranged.build import build_ranged
from compiler.ranged.names import Shape, has_ranges
from compiler.ranged.specs import specs
from compiler.workloads.layer import Layer
from compiler.workloads.operators.int8 import INT8
from compiler.workloads.target import Target

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir as ir
    import torch

    from graph_passes.report import PassReport

    Source: TypeAlias = str | os.PathLike[str] | onnx.ModelProto | torch.nn.Module

# Nodes of an unrolled loop. ONNX Runtime runs larger ones: each node takes milliseconds to compile.
_LARGEST_UNROLLED = 1000


@overload
def build(
    model: Source,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    target: str | Target = "host",
    schedules: Schedules | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    fast_algorithms: bool = True,
    chains: bool = True,
    passes: Sequence[Any] | None = None,
    check: Mapping[str, np.ndarray] | None = None,
    fallback: str | None = "onnxruntime",
    ieee: bool = False,
    tune: bool = False,
    strict: bool = False,
    precision: str = "float32",
    operators: Sequence[str | os.PathLike[str]] = (),
    winograd: None = None,
) -> CompiledModel: ...
@overload
def build(
    model: Source,
    input_shapes: Mapping[str, Shape],
    threads: int | None = None,
    target: str | Target = "host",
    schedules: None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    fast_algorithms: bool = True,
    chains: bool = True,
    passes: Sequence[Any] | None = None,
    check: Mapping[str, np.ndarray] | None = None,
    fallback: str | None = "onnxruntime",
    ieee: bool = False,
    tune: bool = False,
    strict: bool = False,
    precision: str = "float32",
    operators: Sequence[str | os.PathLike[str]] = (),
    winograd: None = None,
) -> RangedModel: ...
def build(
    model: Source,
    input_shapes: Mapping[str, Shape] | None = None,
    threads: int | None = None,
    target: str | Target = "host",
    schedules: Schedules | None = None,
    *,
    example_inputs: Sequence[Any] | None = None,
    fast_algorithms: bool = True,
    chains: bool = True,
    passes: Sequence[Any] | None = None,
    check: Mapping[str, np.ndarray] | None = None,
    fallback: str | None = "onnxruntime",
    ieee: bool = False,
    tune: bool = False,
    strict: bool = False,
    precision: str = "float32",
    operators: Sequence[str | os.PathLike[str]] = (),
    winograd: None = None,
) -> CompiledModel | RangedModel:
    """Compiles a model for this CPU.

    Args:
        model: an ONNX file, an ONNX model, or a PyTorch module, which is exported to ONNX.
        input_shapes: shapes of the inputs with dynamic dimensions. If a dimension is a ``range``, one program serves
            all sizes in it, and the result is a :class:`RangedModel`. It has neither segments of ONNX Runtime
            (``fallback``) nor ``chains``, and chooses default schedules at the first run of each size.
        threads: number of threads that run the model. None: one per physical core of one NUMA node, performance cores
            only, and no more than the CPU quota (``docs/machine.md``); ``CompiledModel.placement`` says how many.
        target: ``"host"``, the name of an ISA, or a target. ``threads`` overrides a target's number of cores.
        schedules: a file of records, or a function from a workload and a target to a schedule or None. In a file, a
            choice for this model takes precedence over the fastest schedules of single layers. Layers without a
            schedule run their default; ``CompiledModel.untuned`` lists them.
        example_inputs: tensors to call the PyTorch module with during the export.
        fast_algorithms: whether layers may use Winograd's and Strassen's algorithms, which round more than a plain sum.
        chains: whether a depthwise convolution and its neighbors may run as one kernel, slab by slab, if their
            intermediate images do not fit L2.
        passes: graph passes by name or as objects; None uses the default ones. The passes that lowering requires always
            run: they expand operators by their definitions, resolve branches, unroll small loops, make layers of
            products of 8-bit integers, compute other integers, quantized values and float16 in float32, give images
            two axes, and put their channels last.
        check: inputs by name, best real data. The compiled model runs on them, and its outputs are compared with those
            of ONNX Runtime without optimizations. ``CompiledModel.checked`` has the differences.
        fallback: what runs the nodes that cannot be compiled, within the same program: ``"onnxruntime"``, or None to
            raise an error that names them all. ``CompiledModel.segments`` has these parts of the model.
        ieee: whether the program keeps subnormal numbers, those below 1.2e-38 in float32. By default, all threads that
            run it take them as zero, because most CPUs compute with them a hundred times as slowly. The calling thread
            returns to its own mode after each run.
        tune: whether to measure the program next to ONNX Runtime with the same threads, sizes and ``ieee``, which takes
            some seconds, and to leave the whole model to ONNX Runtime if that is clearly faster. Runs on the inputs of
            ``check``, or on random ones. ``CompiledModel.tuned`` has the times and the choice. Needs ``fallback``.
        strict: whether to reject a model with quantized layers that would be computed in float32.
            ``CompiledModel.in_float`` has these layers.
        precision: ``"float32"``, ``"bfloat16"``, or ``"auto"``: bfloat16 on CPUs with instructions for it, if all sizes
            are fixed. In bfloat16, weights and products of dense layers and convolutions are bfloat16 where that is
            faster, with sums in float32; other layers and all tensors between layers stay float32.
        operators: shared libraries with operators of users, which the model has as nodes of separate domains. They
            are part of the program; see ``docs/user_operators/README.md``. ``load`` needs the libraries too.
        winograd: the former name of ``fast_algorithms``; must not be given.

    Raises:
        TypeError: ``winograd`` is given.
        ValueError: an invalid model, missing shapes, an unknown target, more threads than cores, an unknown
            ``fallback`` or ``precision``, or, without ``fallback``, an operator that cannot be compiled; with
            ``strict``, a quantized layer that would be computed in float32; a library of ``operators`` that is not
            valid, or an operator that does not take its node.
        OSError: a file cannot be read.
        ImportError: TVM has the wrong version, or a package is missing: of the extra ``compile``; of ``check``
            for the argument ``check``; of ``fallback`` for ``tune``, and for a model that cannot be compiled without
            it.
        CheckFailed: an output differs by more than 1e-4 of its scale, three times the difference of ONNX Runtime's
            answers with and without its optimizations, and the effect of one step of quantization. The message names
            the first graph pass or layer that is wrong.
        RuntimeError: ``check`` is given, and ONNX Runtime does not run the model.
    """
    if winograd is not None:
        raise TypeError("build() has no argument 'winograd'; use 'fast_algorithms'")
    if fallback not in (None, "onnxruntime"):
        raise ValueError(f"fallback is {fallback!r}; it must be 'onnxruntime' or None")
    extras.require("compiler.build", "compile")
    if tune and fallback is None:
        raise ValueError("tune=True may leave the model to ONNX Runtime, which fallback=None forbids; give one of them")
    if check is not None:
        extras.require("a check", "check")
    if tune:
        extras.require("tune=True", "fallback")
    import graph_passes
    from compiler.lowering.choose import Options
    from compiler.lowering.lower import lower
    from compiler.workloads.precision import BFLOAT16, resolved
    from graph_passes.lazy import ir

    host = _host(target, threads)
    computed_in = resolved(precision, host)
    exported = source.exported(model, example_inputs)
    ranges = has_ranges(input_shapes)
    given = Operators(operators) if operators else None
    chosen = passes_of_build(passes, ranges, given)
    if ranges:
        if schedules is not None or check is not None or tune or strict or precision == BFLOAT16:
            raise ValueError(
                "schedules, check, tune, strict and precision are for fixed sizes; input_shapes has ranges"
            )
        return build_ranged(exported, dict(input_shapes or {}), host, chosen, fast_algorithms, ieee, given)
    shapes: Any = input_shapes
    after_passes = graph_passes.optimize(exported, shapes, chosen)
    in_float = _in_float(after_passes.reports)
    _check_strict(strict, in_float)
    optimized = after_passes.ir_model
    _check_sizes(optimized)
    ir.external_data.load_to_model(optimized)  # the importer does not read files

    def compiled_of(optimized: ir.Model) -> CompiledModel:
        """Lowers and compiles an optimized model, which it changes."""
        inputs, of_integers = specs(optimized.graph.inputs), _layers_of_integers(optimized)
        with opened(schedules) as source:
            lowered = lower(optimized, host, Options(source, fast_algorithms, chains, computed_in, given))
        from compiler.tvm_backend.compile import compile_model  # imports TVM, which takes a second

        layers = lowered.layers
        kernels_of_integers = {layer.name for layer in layers if layer.dtype == INT8}
        missing = [f"{name}: no integer kernel supports it" for name in of_integers if name not in kernels_of_integers]
        _check_strict(strict, missing)
        compiled = compile_model(lowered.model, layers, host, fallback is not None)
        del lowered  # the kernels pack their weights next, and need the memory of its constants
        _return_freed_memory()
        built = CompiledModel(
            compiled.executable,
            layers,
            inputs,
            compiled.outputs,
            host,
            compiled.module,
            compiled.segments,
            ieee=ieee,
            operators=given,
        )
        built.in_float = (*in_float, *missing)
        return built

    def tuned(compiled: CompiledModel) -> CompiledModel:
        """Returns the fastest program of this model if ``tune`` is given."""
        if not tune:
            return compiled
        from compiler.tuning.candidates import candidates
        from compiler.tuning.choose import choose

        try:
            data = random_inputs(compiled.inputs) if check is None else check
        except ValueError as error:
            raise ValueError(f"tune=True runs the model: {error}; give inputs with check=") from None
        fastest, choice = choose(candidates(compiled, exported, shapes), data)
        fastest.tuned = choice
        return fastest

    if check is None:
        return tuned(compiled_of(optimized))
    from compiler.check.check import check as compare

    before = ir.serde.serialize_model(optimized)
    compiled = tuned(compiled_of(optimized))
    compiled.checked = compare(
        compiled,
        check,
        exported,
        shapes,
        chosen,
        before,
        lambda proto: compiled_of(ir.serde.deserialize_model(proto)),
    )
    return compiled


def layers_of(
    model: str | os.PathLike[str] | onnx.ModelProto,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int | None = None,
    target: str | Target = "host",
) -> tuple[Layer, ...]:
    """Returns the layers that :func:`build` would create, without compilation and without schedules.

    Raises:
        ValueError, OSError: as :func:`build`.
        ModuleNotFoundError: a package for ONNX is missing.
    """
    extras.require("compiler.layers_of", "compile", "onnx", "onnx_ir", "onnxscript")
    import graph_passes
    from compiler.lowering.choose import Options
    from compiler.lowering.lower import plan_kernels

    host = _host(target, threads)
    optimized = graph_passes.optimize(model, input_shapes, passes_of_build())
    specs(optimized.ir_model.graph.inputs)
    _matches, plan = plan_kernels(optimized.ir_model, host, Options())
    return plan.layers


def _host(target: str | Target, threads: int | None) -> Target:
    """Returns the target of a build; ``threads`` overrides its number of cores."""
    if not isinstance(target, Target):
        return Target.named(target, threads)
    if threads is None:
        return target
    return dataclasses.replace(Target.from_host(target.isa, threads), machine=target.machine)


def passes_of_build(
    chosen: Sequence[Any] | None = None, ranges: bool = False, operators: Operators | None = None
) -> list[Any]:
    """Returns the passes of :func:`build` in order: the chosen ones (None: the default ones), and those of lowering.

    The latter run as soon as shapes are known.

    Args:
        ranges: whether the program is for ranges of sizes.
        operators: operators of users, which infer shapes as soon as the passes have found those of their inputs.

    Raises:
        ValueError: a pass is unknown.
    """
    import graph_passes
    from compiler.lowering.infer_user_operators import InferUserOperators
    from graph_passes.block_weights import BlockWeights
    from graph_passes.unroll_loops import UnrollLoops

    passes = [graph_passes.named(a_pass) for a_pass in (graph_passes.DEFAULT_PASSES if chosen is None else chosen)]
    names = [a_pass.name for a_pass in passes]
    start = names.index("freeze_shapes") + 1 if "freeze_shapes" in names else 0
    folded = names.index("fold_constants", start) + 1 if "fold_constants" in names[start:] else start
    control_flow = ["resolve_branches", UnrollLoops(largest=_LARGEST_UNROLLED)]
    quantized = ["integer_layers", "integer_products", "quantized_values"]
    inferred = [] if operators is None else [InferUserOperators(operators)]
    before = [
        *passes[:start],
        *inferred,
        BlockWeights(by_rows=not ranges),
        "expand_functions",
        *control_flow,
        *quantized,
        *passes[start:folded],
        *inferred,
    ]
    return [*before, "float32_layers", "two_axes", *passes[folded:], "channels_last"]


def _check_strict(strict: bool, in_float: Sequence[str]) -> None:
    if strict and in_float:
        first, *others = in_float
        raise ValueError(f"strict=True: {first}" + (f", and {len(others)} other layers" if others else ""))


def _check_sizes(model: ir.Model) -> None:
    """
    Raises:
        ValueError: a window is larger than its input, so that the output would have a negative size.
    """
    from graph_passes.base import described, every_node
    from graph_passes.values import static_shape

    for node in every_node(model):
        has_window = "Conv" in node.op_type or "Pool" in node.op_type
        given = static_shape(node.inputs[0]) if has_window else None
        if given is None or min(given) < 0:  # -1 stands for an unknown size in some models
            continue
        for value in node.outputs:
            sizes = list(value.shape or ())
            if any(isinstance(size, int) and size < 0 for size in sizes):
                shape = ", ".join(map(str, sizes))
                raise ValueError(
                    f"cannot compile {described(node)}: its output would have the shape [{shape}], because "
                    "the window is larger than the input"
                )


def _layers_of_integers(model: ir.Model) -> list[str]:
    """Returns the names of the model's layers of 8-bit integers, as its layers have them."""
    from graph_passes.base import every_node
    from graph_passes.patterns.layers import FusedLayer

    layers = ((node, FusedLayer.of(node)) for node in every_node(model))
    return [str(node.name or node.outputs[0].name) for node, layer in layers if layer is not None and layer.of_integers]


def _in_float(reports: Sequence[PassReport]) -> tuple[str, ...]:
    """Returns the remarks on quantized layers that are computed in float32."""
    from graph_passes.patterns.integer_weight import IN_FLOAT

    remarks = (remark for report in reports for remark in report.remarks)
    return tuple(str(remark) for remark in remarks if remark.what.startswith(IN_FLOAT))


def _return_freed_memory() -> None:
    """Returns freed memory to the system, if the C library is glibc.

    glibc keeps what the passes and TVM freed below objects that are in use: 40 MB for a model of 60 MB. Large arrays,
    such as packed weights, are not put there.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
