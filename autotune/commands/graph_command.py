"""``python -m autotune.search --model FILE --graph``: selects a model's schedules inside the running network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune import backends
from autotune.commands.interrupt import held_interrupt
from autotune.commands.model_options import ModelOptions
from autotune.commands.model_progress import model_progress
from autotune.commands.result import aligned, workload_text
from autotune.commands.units import secs_text
from autotune.searches.graph_candidates import Candidate, candidates
from compiler.workloads.database import Records
from compiler.workloads.machines import notices
from compiler.workloads.records import ModelChoice, model_key
from compiler.workloads.target import Target
from compiler.workloads.workload import Workload

if TYPE_CHECKING:
    from autotune.searches.graph_search import GraphOutcome, WorkloadOutcome

BACKEND = "kernel"  # computes the layers whose schedules are selected


def run(options: ModelOptions, records: Records) -> None:
    """Builds the model with its stored schedules, searches it, and stores the choices if they hold.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; earlier choices stay.
        ValueError: there are no records of this model on this target.
    """
    workloads, target = options.workloads, options.target
    known = _known(set(workloads), target, records)
    print(
        f"{target.name}, {target.isa}, threads: {target.num_cores}; "
        f"{known} of {len(set(workloads))} workloads have records",
        *notices(target),
        sep="\n",
        flush=True,
    )
    if not known:
        raise ValueError(f"{options.records} has no records of {options.model} on this target; search without --graph")
    outcome = search(
        options.model, options.input_shapes, workloads, target, options.seed, options.fast_algorithms, records
    )
    model = model_key(workloads)
    if outcome.holds:
        records.choose(model, target, merged(records.chosen(model, target), outcome.changed))
    report_results(outcome, options.model, target, options.records, options.json)


def search(
    model: Path,
    input_shapes: Mapping[str, tuple[int, ...]],
    workloads: Iterable[Workload],
    target: Target,
    seed: int,
    fast_algorithms: bool,
    records: Records,
) -> GraphOutcome:
    """Measures the candidates inside the network."""
    from autotune.searches.graph_search import search_graph
    from autotune.searches.network import RunningNetwork
    from compiler.build import build
    from compiler.program.random_inputs import random_inputs

    compiled = build(model, input_shapes, target=target, schedules=records.path, fast_algorithms=fast_algorithms)
    inputs = random_inputs(compiled.inputs, seed)
    space_of = partial(backends.space, BACKEND, fast_algorithms=fast_algorithms)

    def offered(workload: Workload, threads: int) -> list[Candidate]:
        return candidates(workload, threads, target, records, space_of)

    with held_interrupt() as interrupt, model_progress(len(set(workloads))) as shown:

        def on_workload(outcome: WorkloadOutcome) -> None:
            shown.step()
            shown.say(_line(outcome))

        network = RunningNetwork(compiled, inputs, seed)
        return search_graph(compiled, network, offered, seed, on_workload, interrupt.raise_if_pressed)


def merged(earlier: Mapping[Workload, ModelChoice], changed: Iterable[WorkloadOutcome]) -> list[ModelChoice]:
    """Returns the earlier choices of the model, updated with those that have changed."""
    return list(({**earlier} | {outcome.workload: outcome.after for outcome in changed}).values())


def report_results(outcome: GraphOutcome, model: Path, target: Target, records: Path, json_file: Path | None) -> None:
    """Prints what was accepted and what it saves, and writes the file."""
    if outcome.changed:
        print(f"\n{table(outcome.changed)}\n")
    print(verdict(outcome))
    if outcome.holds:
        print(f'Choices: stored in {records}; used by compiler.build(..., schedules="{records}") of this model')
    if json_file:
        json_file.write_text(json.dumps(_content(outcome, model, target), indent=2, allow_nan=False) + "\n")
        print(f"Results: {json_file}")


def table(changed: Sequence[WorkloadOutcome]) -> str:
    """Returns a table of what was accepted, one line per workload."""
    lines = [["workload", "layers", "share", "saves of it", "95% interval", "threads", "schedule"]]
    for outcome in changed:
        gain = outcome.gain
        if gain is not None:
            lines.append(
                [
                    workload_text(outcome.workload),
                    str(len(outcome.places)),
                    f"{outcome.share:.1%}",
                    f"{gain.median:.1%}",
                    f"{gain.low:.1%} to {gain.high:.1%}",
                    f"{outcome.before.threads} -> {outcome.after.threads}",
                    difference(outcome.before, outcome.after),
                ]
            )
    return aligned(lines, [False, True, True, True, True, False, False])


def difference(before: ModelChoice, after: ModelChoice) -> str:
    """Returns the decisions in which two schedules differ, as ``name=before->after``."""
    old, new = before.schedule.values, after.schedule.values
    changed = [f"{name}={old.get(name)}->{value}" for name, value in new.items() if old.get(name) != value]
    return " ".join(changed) or "the same"


def verdict(outcome: GraphOutcome) -> str:
    """Returns one line about the gain of the entire network."""
    if outcome.comparison is None:
        return "No candidate is faster: the schedules stay as they are"
    before, after, gain = outcome.comparison.before_secs, outcome.comparison.after_secs, outcome.comparison.gain
    entire = (
        f"The entire network: {secs_text(before)} -> {secs_text(after)}; it saves {gain.median:.1%}, "
        f"95% interval {gain.low:.1%} to {gain.high:.1%}"
    )
    return entire if outcome.holds else f"{entire}: within chance, so the schedules stay as they are"


def _known(workloads: Collection[Workload], target: Target, records: Records) -> int:
    """Returns how many of the workloads have a record."""
    targets = [dataclasses.replace(target, num_cores=count) for count in {1, target.num_cores}]
    return sum(any(records.best(workload, on_count, BACKEND) for on_count in targets) for workload in workloads)


def _line(outcome: WorkloadOutcome) -> str:
    change = (
        "stays"
        if outcome.gain is None
        else f"{outcome.gain.median:.1%} less by {difference(outcome.before, outcome.after)}"
    )
    return f"{workload_text(outcome.workload)}, {outcome.share:.1%} of the network, {outcome.tried} tried: {change}"


def _content(outcome: GraphOutcome, model: Path, target: Target) -> dict[str, Any]:
    return {
        "model": str(model),
        "target": target.to_json(),
        "holds": outcome.holds,
        "comparison": None if outcome.comparison is None else dataclasses.asdict(outcome.comparison),
        "trials": [
            {
                "workload": trial.workload.to_json(),
                "layers": len(trial.places),
                "share": trial.share,
                "tried": trial.tried,
                "before": _choice(trial.before),
                "after": _choice(trial.after),
                "gain": None if trial.gain is None else dataclasses.asdict(trial.gain),
            }
            for trial in outcome.workloads
        ],
    }


def _choice(choice: ModelChoice) -> dict[str, Any]:
    return {"schedule": choice.schedule.to_json(), "threads": choice.threads}
