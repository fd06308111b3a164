"""The stored schedules of a model: how many of its layers have some, and how to search for more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from compiler.program.compiled_model import CompiledModel
from compiler.workloads.database import Records
from compiler.workloads.records import model_key
from compiler.workloads.schedule import Schedule
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

BACKEND = "kernel"


@dataclass(frozen=True)
class StoredSchedules:
    """How many layers of a model have schedules in a file of records.

    Attributes:
        layers: layers that can have a schedule.
        measured: layers with a schedule that was measured on the layer alone.
        chosen: layers with a schedule that was chosen inside this model.
    """

    layers: int
    measured: int = 0
    chosen: int = 0

    def __bool__(self) -> bool:
        """Whether any layer has a schedule."""
        return bool(self.measured or self.chosen)

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def stored_schedules(path: Path | None, model: CompiledModel) -> StoredSchedules:
    """Counts the schedules for a model that was built without records. The file may be missing, or None.

    Raises:
        ValueError: the file is not a file of records.
    """
    layers = [(layer.workload, layer.threads) for layer in model.layers if layer.workload is not None]
    if path is None or not path.exists():
        return StoredSchedules(len(layers))
    with Records(path) as records:
        schedule = measured_alone(records)
        chosen = records.chosen(model_key(workload for workload, _ in layers), model.target)
        return StoredSchedules(
            layers=len(layers),
            measured=sum(
                schedule(workload, replace(model.target, num_cores=threads)) is not None for workload, threads in layers
            ),
            chosen=sum(workload in chosen for workload, _ in layers),
        )


def measured_alone(records: Records) -> Callable[[Workload, Target], Schedule | None]:
    """Returns schedules for ``compiler.build`` that were measured on single layers, without choices for models."""

    def schedule(workload: Workload, target: Target) -> Schedule | None:
        best = records.best(workload, target, BACKEND)
        return best.schedule if best else None

    return schedule


def how_to_tune(model: str, threads: int, records: Path) -> str:
    """Returns the commands that search schedules for the layers of a model, and then inside the model."""
    write = f"python -m benchmarks.whole_models {model} --onnx {model}.onnx"
    search = f"python -m autotune.search --model {model}.onnx --threads {threads} --records {records}"
    return f"{write} && {search}, and the search again with --graph"
