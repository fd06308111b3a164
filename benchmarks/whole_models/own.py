"""Our compiler's part in the comparison of whole models: what is on record for one, and how more comes on record."""

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
class OnRecord:
    """Of how many layers of a model a file of records knows something.

    Attributes:
        layers: those that have a schedule at all.
        measured: those with a schedule that was measured on the layer alone.
        chosen: those with one that was chosen for this very model as a whole.
    """

    layers: int
    measured: int = 0
    chosen: int = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.measured or self.chosen)

    def to_json(self) -> dict[str, int]:
        return asdict(self)


def on_record(path: Path, model: CompiledModel) -> OnRecord:
    """What the file knows of a model that was built without records; nothing where there is no file.

    Raises:
        ValueError: it is no file of records.
    """
    layers = [(layer.workload, layer.threads) for layer in model.layers if layer.workload is not None]
    if not path.exists():
        return OnRecord(len(layers))
    with Records(path) as records:
        schedule = measured_alone(records)
        chosen = records.chosen(model_key(workload for workload, _ in layers), model.target)
        return OnRecord(
            layers=len(layers),
            measured=sum(
                schedule(workload, replace(model.target, num_cores=threads)) is not None for workload, threads in layers
            ),
            chosen=sum(workload in chosen for workload, _ in layers),
        )


def measured_alone(records: Records) -> Callable[[Workload, Target], Schedule | None]:
    """For ``compiler.build``: the schedules of a file of records, but not what it holds as chosen for whole models."""

    def schedule(workload: Workload, target: Target) -> Schedule | None:
        best = records.best(workload, target, BACKEND)
        return best.schedule if best else None

    return schedule


def how_to_tune(model: str, threads: int, records: Path) -> str:
    """The commands that bring a model of ``benchmarks.models`` on record: its layers, then choices for the whole."""
    search = f"python -m autotune.search --model {model}.onnx --threads {threads} --records {records}"
    return f"python -m benchmarks.whole_models.whole_model {model} --onnx {model}.onnx && {search}, and the search again with --graph"
