"""The models that are measured, and programs for more threads than this machine has cores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

import compiler
from benchmarks import models
from benchmarks.models import census
from compiler.program.compiled_model import CompiledModel
from compiler.workloads.target import Target
from kernels import MachineModel

MOST_THREADS = 1024  # of a kernel


@dataclass(frozen=True)
class Source:
    """A model with its inputs."""

    name: str
    model: onnx.ModelProto
    input_shapes: Mapping[str, tuple[int, ...]]
    inputs: Mapping[str, np.ndarray]


def check(name: str) -> None:
    """
    Raises:
        ValueError: neither ``benchmarks.models`` nor the census has the model, or its file is missing.
    """
    if name in census.CENSUS and name not in models.MODELS:
        reason = census.missing(name)
    elif name in models.MODELS:
        reason = models.missing(name)
    else:
        reason = f"no model {name!r}; there are {', '.join([*models.MODELS, *census.CENSUS])}"
    if reason:
        raise ValueError(reason)


def source(name: str) -> Source:
    """Loads a model of ``benchmarks.models`` or of the census.

    Raises:
        ValueError: as :func:`check`.
    """
    check(name)
    if name in models.MODELS:
        model, shapes = models.load(name), models.MODELS[name].input_shapes
        return Source(name, model, shapes, models.random_inputs(model, shapes))
    return Source(name, census.load(name), census.model(name).input_shapes, census.inputs(name))


def machine_for(threads: int) -> MachineModel:
    """Returns the model of this CPU if it has the costs of so many threads, else an interpolated one."""
    host = MachineModel.host()
    return host if host.cores >= threads else MachineModel.interpolated(threads)


def built(from_: Source, threads: int, machine: MachineModel) -> CompiledModel:
    """Builds a program for any number of threads, which is for simulations: it needs as many cores to run fast.

    Segments of ONNX Runtime run on one thread, because their shares cannot be simulated.

    Raises:
        ValueError: the model is not supported.
    """
    target = dataclasses.replace(Target.from_host(num_cores=1), num_cores=threads, machine=machine)
    compiled = compiler.build(from_.model, from_.input_shapes, target=target)
    return compiled.with_segments_on(1) if compiled.segments else compiled
