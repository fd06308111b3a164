"""What default schedules lose under other machine models.

``python -m benchmarks.machine_models [--model interpolated|ID|FILE] [--threads 1,2] [--all] [--json FILE]``

The baseline is the model of this CPU. Layers for which both models choose the same schedule count as equal. The others
are measured in turns, one process per layer, as ``pytest benchmarks --benchmark`` does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import kernels
from benchmarks.command import thread_counts
from benchmarks.layers.comparison import samples_of
from benchmarks.layers.groups import GROUPS
from benchmarks.layers.own import default_values
from benchmarks.layers.sample import sample
from benchmarks.layers.shapes import Shape
from benchmarks.summary import geometric_mean
from compiler.commands.command_line import Parser, add_version, check_file, exit_code
from compiler.measure import isolated
from compiler.measure.comparison import Ratio, speedup
from compiler.workloads.machines import INTERPOLATED, model_named
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target, usable_cores

_SAMPLES = 40
_LIMIT_SECS = 120
_SAME = Ratio(1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Difference:
    """A layer with the schedule of another model.

    Attributes:
        speed: relative to the schedule of this CPU's model; None if both are equal.
    """

    group: str
    shape: str
    threads: int
    speed: Ratio | None


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m benchmarks.machine_models", description="Measures what other machine models lose.")
    add_version(parser)
    about = "interpolated (default), the id of a built-in model, or a file that kernels.calibrate has written"
    parser.add_argument("--model", default=INTERPOLATED, metavar="MODEL", help=about)
    counts = [count for count in (1, 2) if count <= usable_cores()]
    about = f"default: {','.join(map(str, counts))}"
    parser.add_argument("--threads", type=thread_counts, default=counts, metavar="N,...", help=about)
    parser.add_argument("--all", action="store_true", help="all layers instead of a sample")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ratios to this file")
    arguments = parser.parse_args(argv)
    return exit_code(parser, lambda: run(arguments))


def run(arguments: argparse.Namespace) -> int:
    """
    Raises:
        ValueError: there is no such model.
        RuntimeError: a measurement has failed.
    """
    check_file(arguments.json)
    own, other = kernels.MachineModel.host(), model_of(arguments.model)
    print(f"{kernels.cpu_name()}: speed with the default schedules of {other.id}, relative to those of {own.id}")
    found = list(differences(own, other, arguments.threads, arguments.all))
    for line in summary(found):
        print(line)
    if arguments.json is not None:
        results = {"model": own.id, "other": other.id, "layers": [asdict(difference) for difference in found]}
        arguments.json.write_text(json.dumps(results, indent=1))
    return 0


def model_of(name: str) -> kernels.MachineModel:
    """Returns the model of a name for ``--model``.

    Raises:
        ValueError: there is no such model, or the file is not one.
    """
    built_in = {model.id: model for model in kernels.MachineModel.built_in()}
    if name in built_in:
        return built_in[name]
    if name != INTERPOLATED and not Path(name).exists():
        known = ", ".join([INTERPOLATED, *built_in])
        raise ValueError(f"unknown machine model {name!r}; choose from {known}, or a file")
    return model_named(name)


def differences(
    own: kernels.MachineModel, other: kernels.MachineModel, threads: Sequence[int], whole: bool
) -> Iterator[Difference]:
    """Yields the layers in order, and prints those that differ as they are measured."""
    for name, group in GROUPS.items():
        for shape in group.shapes(1) if whole else sample(name):
            for count in threads:
                target = Target.from_host(num_cores=count)
                if shape.workload.dtype not in target.dtypes:
                    continue
                values = default_values(shape.workload, replace(target, machine=other))
                if values is None:  # no schedule, or one that follows from those of dense layers
                    continue
                if values == default_values(shape.workload, replace(target, machine=own)):
                    yield Difference(name, shape.name, count, None)
                    continue
                speed = _measured(shape, count, values)
                print(f"{name:12} {shape.name:32} {count} thread{'s' * (count > 1):1}  {speed}", flush=True)
                yield Difference(name, shape.name, count, speed)


def _measured(shape: Shape, threads: int, values: dict[str, Any]) -> Ratio:
    schedule = json.dumps(Schedule("kernel", values).to_json())
    options = [shape.name, "--threads", str(threads), "--schedule", schedule, "--no-baselines"]
    result = isolated.run("benchmarks.layers", [*options, "--samples", str(_SAMPLES)], _LIMIT_SECS)
    secs = {name: samples_of(measured["secs"]) for name, measured in result["implementations"].items()}
    return speedup(secs["tuned"], secs["default"])


def summary(found: Sequence[Difference]) -> Iterator[str]:
    """Yields one line per number of threads: the loss over all layers, and the layer that loses most."""
    for threads in sorted({difference.threads for difference in found}):
        of_threads = [difference for difference in found if difference.threads == threads]
        speeds = {difference.shape: (difference.speed or _SAME).value for difference in of_threads}
        differing = sum(difference.speed is not None for difference in of_threads)
        worst = min(speeds, key=speeds.__getitem__)
        loss = 1 - geometric_mean(speeds.values())
        yield (
            f"{threads} thread{'s' * (threads > 1)}: loss {loss:.1%} over {len(speeds)} layers, "
            f"{differing} of them with another schedule; least {speeds[worst]:.3f} ({worst})"
        )
