"""The options of ``python -m autotune.search --model``, checked before anything is measured."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.commands.arguments import TRIALS_PER_WORKLOAD, check_memory
from compiler.commands.command_line import check_file, check_folder
from compiler.workloads.machines import with_machine
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from compiler.workloads.layer import Layer

# Arguments for operators only, by name, with their defaults.
_FOR_OPERATORS: Mapping[str, object] = {"shape": None, "dtype": "float32"}


@dataclass(frozen=True)
class ModelOptions:
    """The options of a search of a model's layers.

    Attributes:
        layers: all layers of the model.
        trials: of the entire model.
        graph: whether stored schedules are measured inside the running network, instead of a search for new ones.
    """

    model: Path
    input_shapes: Mapping[str, tuple[int, ...]]
    target: Target
    layers: tuple[Layer, ...]
    strategy: str
    trials: int
    seed: int
    records: Path
    json: Path | None
    report: Path
    fast_algorithms: bool
    graph: bool

    @property
    def workloads(self) -> list[Workload]:
        """The workloads of the layers, in their order."""
        return [layer.workload for layer in self.layers if layer.workload is not None]


def model_options(arguments: argparse.Namespace) -> ModelOptions:
    """Returns the checked options of a search of a model.

    Raises:
        ValueError: an invalid model, missing sizes, arguments that exclude each other, more threads than cores, more
            data than memory, or a file that cannot be written. The message lists the alternatives.
    """
    for name, default in _FOR_OPERATORS.items():
        if getattr(arguments, name) != default:
            raise ValueError(f"argument --{name}: not allowed with argument --model")
    if arguments.backend not in ("kernel", "all"):
        raise ValueError(f"argument --backend: {arguments.backend} is not supported with --model; choose from: kernel")
    if arguments.graph:
        _check_graph(arguments)
    shapes = _input_shapes(arguments.input_shape)
    target = with_machine(Target.named(arguments.arch, arguments.threads), arguments.machine)
    check_file(arguments.json)
    if not arguments.graph:
        check_folder(arguments.report, "index.html")
    layers = _layers(arguments.model, shapes, target)
    for layer in layers:
        if layer.workload is not None:
            check_memory(layer.workload)
    return ModelOptions(
        model=arguments.model,
        input_shapes=shapes,
        target=target,
        layers=layers,
        strategy=arguments.strategy,
        trials=arguments.trials or TRIALS_PER_WORKLOAD * len({layer.workload for layer in layers if layer.workload}),
        seed=arguments.seed,
        records=arguments.records,
        json=arguments.json,
        report=arguments.report,
        fast_algorithms=arguments.fast_algorithms,
        graph=arguments.graph,
    )


def _check_graph(arguments: argparse.Namespace) -> None:
    if arguments.trials is not None:
        raise ValueError("argument --trials: not allowed with argument --graph, which measures stored schedules")
    if not arguments.records.exists():
        raise ValueError(f"no such records file: {arguments.records}; search with --model first, without --graph")


def _input_shapes(given: list[str] | None) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for text in given or ():
        # The notation of the other commands. A name may contain colons. NAME=1x3x224x224 is accepted too.
        found = re.fullmatch(r"(.+)[:=]([1-9][0-9]{0,8}(?:[,x][1-9][0-9]{0,8})*)", text, re.ASCII)
        if found is None:
            raise ValueError(f"argument --input-shape: {text!r} is not NAME:SIZE,... such as x:1,3,224,224")
        name, sizes = found[1], found[2]
        if name in shapes:
            raise ValueError(f"argument --input-shape: {name} is given twice")
        shapes[name] = tuple(map(int, re.split("[,x]", sizes)))
    return shapes


def _layers(model: Path, shapes: Mapping[str, tuple[int, ...]], target: Target) -> tuple[Layer, ...]:
    from compiler.build import layers_of

    try:
        layers = layers_of(model, shapes, target=target)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).replace("input_shapes", "--input-shape")  # the name of the option here
        raise ValueError(f"argument --model: {reason}") from None
    if not any(layer.workload for layer in layers):
        raise ValueError(f"argument --model: {model} has no layer with a schedule to search for")
    return layers
