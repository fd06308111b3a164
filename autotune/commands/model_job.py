"""What ``python -m autotune.search --model`` is asked for, checked before anything is measured."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.commands.arguments import TRIALS_A_WORKLOAD, check_directory, check_memory
from compiler.commands.command_line import check_file
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from compiler.workloads.layer import Layer

# Arguments that say which layers are searched, or how, where no model does: by name, with what they are without.
_OF_OPERATORS: Mapping[str, object] = {"shape": None, "dtype": "float32"}


@dataclass(frozen=True)
class ModelJob:
    """A model whose layers' schedules are searched, and where the results go."""

    model: Path
    input_shapes: Mapping[str, tuple[int, ...]]
    target: Target
    layers: tuple[Layer, ...]  # all of the model's
    strategy: str
    trials: int  # of the whole model
    seed: int
    records: Path
    json: Path | None
    report: Path
    fast_algorithms: bool
    graph: bool

    @property
    def workloads(self) -> list[Workload]:
        """Of the layers, in their order."""
        return [layer.workload for layer in self.layers if layer.workload is not None]


def model_job(arguments: argparse.Namespace) -> ModelJob:
    """The job that parsed arguments ask for.

    Raises:
        ValueError: what is wrong, and what is possible: no valid model, sizes that are missing, arguments that do not
            go together, more threads than cores, more data than memory, a file that cannot be written.
    """
    for name, usual in _OF_OPERATORS.items():
        if getattr(arguments, name) != usual:
            raise ValueError(f"argument --{name}: not allowed with argument --model, which has its own")
    if arguments.backend not in ("kernel", "all"):
        raise ValueError(f"argument --backend: {arguments.backend} is not possible with --model; choose from: kernel")
    if arguments.graph:
        _check_graph(arguments)
    shapes = _input_shapes(arguments.input_shape)
    target = Target.named(arguments.arch, arguments.threads)
    check_file(arguments.json)
    if not arguments.graph:
        check_directory(arguments.report)
    layers = _layers(arguments.model, shapes, target)
    for layer in layers:
        if layer.workload is not None:
            check_memory(layer.workload)
    return ModelJob(
        model=arguments.model,
        input_shapes=shapes,
        target=target,
        layers=layers,
        strategy=arguments.strategy,
        trials=arguments.trials or TRIALS_A_WORKLOAD * len({layer.workload for layer in layers if layer.workload}),
        seed=arguments.seed,
        records=arguments.records,
        json=arguments.json,
        report=arguments.report,
        fast_algorithms=arguments.fast_algorithms,
        graph=arguments.graph,
    )


def _check_graph(arguments: argparse.Namespace) -> None:
    if arguments.trials is not None:
        raise ValueError("argument --trials: not allowed with argument --graph, which measures what is on record")
    if not arguments.records.exists():
        raise ValueError(f"there is no records file {arguments.records}; search with --model first, without --graph")


def _input_shapes(given: list[str] | None) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for text in given or ():
        # As the other commands have it; a name may have colons itself. NAME=1x3x224x224 is understood too.
        found = re.fullmatch(r"(.+)[:=]([1-9][0-9]{0,8}(?:[,x][1-9][0-9]{0,8})*)", text, re.ASCII)
        if found is None:
            raise ValueError(f"argument --input-shape: {text!r} is no NAME:SIZE,... such as x:1,3,224,224")
        name, sizes = found[1], found[2]
        if name in shapes:
            raise ValueError(f"argument --input-shape: {name} is given twice")
        shapes[name] = tuple(map(int, re.split("[,x]", sizes)))
    return shapes


def _layers(model: Path, shapes: Mapping[str, tuple[int, ...]], target: Target) -> tuple[Layer, ...]:
    from compiler.build import layers_of

    try:
        layers = layers_of(model, shapes, target.num_cores, target.isa)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()).replace("input_shapes", "--input-shape")  # as it is called here
        raise ValueError(f"argument --model: {reason}") from None
    if not any(layer.workload for layer in layers):
        raise ValueError(f"argument --model: {model} has no layer with a schedule to search for")
    return layers
